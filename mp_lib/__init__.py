"""Mamba Policy, reproduced: models, data and simulation behind the numbered notebooks.

Map of the package, in the order in which its parts depend on each other:

- ``interfaces``  the nouns (observation, environment, task, result) and the letters of all shapes
- ``config``      every number of the paper, the methods and the scales, each with its source
- ``sim``         tasks as MuJoCo environments with point clouds and experts; knows no torch
- ``data``        demonstrations in zarr, windows for training
- ``model``       mixers, blocks, the one U-Net, encoder, sampler, policy, checkpoints; knows no simulator
- ``fetch``       gets public policies as experts;  ``imitate``  trains our own to act as they do
- ``demos``       expert -> zarr;  ``train``  zarr -> checkpoint;  ``rollout``  checkpoint -> successes
- ``results``     runs -> tables beside the published numbers;  ``plots``  tables -> figures
- ``pipeline``    the whole experiment as steps that run notebooks

Importing this package imports nothing heavy.
"""

__version__ = "0.1.0"
