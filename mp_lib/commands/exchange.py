"""The verb that brings recordings of others in."""

from __future__ import annotations

import argparse

from mp_lib.commands.verb import Verb, option
from mp_lib.system.errors import one_line
from mp_lib.system.paths import given_path

CROP = ("X0", "Y0", "Z0", "X1", "Y1", "Z1")


def bring_in(given: argparse.Namespace) -> None:
    from mp_lib.exchange.conversion import Wishes, convert

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


IMPORT = (
    option("source", type=given_path, help="a folder of .npz or HDF5 files, an HDF5 file, or a LeRobot v3 data set"),
    option("store", type=given_path, help="path of the store to write, such as my_arm.zarr; it may not exist"),
    option("--format", default="", help="npz, hdf5 or lerobot (default: by what lies there)"),
    option("--points", type=int, help="of a cloud, the farthest of all (default: 512, or all of smaller stored ones)"),
    option("--task", default="", help="a name of yours (default: what a LeRobot data set says, else the store's)"),
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
VERBS = (Verb("import", "make a store of recordings of others", bring_in, IMPORT),)
