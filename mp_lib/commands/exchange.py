"""Verbs that bring recordings of others in, and take ours out."""

from __future__ import annotations

import argparse

from mp_lib.commands.verb import Verb, option
from mp_lib.interfaces import look_up
from mp_lib.system.errors import one_line
from mp_lib.system.paths import given_path

SIMULATED = ("metaworld_", "adroit_", "dexart_")  # names that begin so are of the project's own tasks
CROP = ("X0", "Y0", "Z0", "X1", "Y1", "Z1")


def bring_in(given: argparse.Namespace) -> None:
    from mp_lib.exchange.conversion import Wishes, convert

    if given.task.startswith(SIMULATED):
        from mp_lib.sim.tasks import find_task

        find_task(given.task)
    chosen = {name: value for name, value in vars(given).items() if name not in ("source", "store", "crop")}
    crop = (given.crop[:3], given.crop[3:]) if given.crop else None
    made = convert(given.source, given.store, Wishes(**chosen, crop=crop))
    store, keys = made.store, made.keys
    print(f"{store.path}: {store.num_episodes} episodes, {store.num_frames} frames, task {store.attributes['task']}")
    sources = {"point_cloud": keys.clouds, "state": keys.state, "action": (keys.action,)}
    for key, names in sources.items():
        print(one_line(f"{key} {store.shapes[key]} of {', '.join(names)}"))
    for note in made.notes:
        print(one_line(note))


def export_lerobot(given: argparse.Namespace) -> None:
    from mp_lib.exchange.lerobot_export import export

    print(export(given.source, given.folder, given.fps))


TARGETS = {"lerobot": export_lerobot}  # what can be exported to, each by a call with the command line's options


def take_out(given: argparse.Namespace) -> None:
    look_up(TARGETS, given.to, "target")(given)


IMPORT = (
    option("source", type=given_path, help="a folder of .npz or HDF5 files, an HDF5 file, or a LeRobot v3 data set"),
    option("store", type=given_path, help="path of the store to write, such as my_arm.zarr; it may not exist"),
    option("--format", default="", help="npz, hdf5 or lerobot (default: by what lies there)"),
    option("--points", type=int, default=512, help="of a cloud, the farthest of all (default: 512)"),
    option("--task", default="", help="a name of yours (default: the store's)"),
    option("--fps", type=float, help="frames a second (default: what a LeRobot data set says)"),
    option("--point-cloud", default="", metavar="KEY", help="key of the clouds (default: by usual names)"),
    option("--state", nargs="+", default=[], metavar="KEY", help="keys of the state, joined (default: by usual names)"),
    option("--action", default="", metavar="KEY", help="key of the actions (default: by usual names)"),
    option("--state-kinds", default="", metavar="KINDS", help='such as "position:3 quaternion:4 gripper:1"'),
    option("--action-kinds", default="", metavar="KINDS", help="the same of the action"),
    option(
        "--cameras", type=given_path, metavar="FILE", help="a JSON file of cameras, whose depth images become clouds"
    ),
    option("--crop", nargs=6, type=float, metavar=CROP, help="corners of the box within which points are kept"),
    option("--without", nargs="+", default=[], metavar="EPISODE", help="names of episodes to leave out"),
)
EXPORT = (
    option("source", type=given_path, help="a store of demonstrations"),
    option("folder", type=given_path, help="to write; it may not exist"),
    option("--to", required=True, help=f"one of: {', '.join(TARGETS)}"),
    option("--fps", type=float, help="frames a second (default: the store's)"),
)
VERBS = (
    Verb("import", "make a store of recordings of others", bring_in, IMPORT),
    Verb("export", "write demonstrations for others to read", take_out, EXPORT),
)
