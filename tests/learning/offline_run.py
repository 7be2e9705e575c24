"""What wandb has written of a run into its file, which is laid out as LevelDB's logs are."""

import json
import struct

BLOCK, FILE_HEADER, HEADER = 2**15, 7, struct.Struct("<IHB")  # sum, length, kind: 1 whole, 2 first, 3 middle, 4 last


def records(path):
    """The records of a .wandb file, as wandb's own messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole = path.read_bytes(), FILE_HEADER, b""
    while place < len(data):
        if BLOCK - place % BLOCK < HEADER.size:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = HEADER.unpack_from(data, place)
        place += HEADER.size + length
        whole += data[place - length : place]
        if kind in (1, 4):
            yield Record.FromString(whole)
            whole = b""


def only_run(folder):
    """The one offline run below ``folder``: its description, and its history as rows with their steps."""
    (path,) = folder.glob("offline-run-*/*.wandb")
    found = list(records(path))
    (run,) = (record.run for record in found if record.HasField("run"))
    history = []
    for record in (record.history for record in found if record.HasField("history")):
        row = {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.item}
        history.append({"step": row["_step"]} | {key: row[key] for key in row if "/" in key})
    return run, history
