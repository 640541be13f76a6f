"""Data that needs no network, and recordings of event cameras and cochleas in files.

Real scans and real speech, digits as an event camera sees them, points of a disk; events as frames, sequences as padded
batches, and the data sets of torch and tonic.

Example:
    >>> from snnax import datasets
    >>> images, labels = datasets.digits("test")
    >>> images.shape
    (360, 8, 8, 1)
    >>> recordings, labels = datasets.moving_digits("test", 20)
    >>> datasets.to_frames(recordings[0], n_frames=10).shape
    (10, 34, 34, 2)
"""

from snnax.datasets.adapters import Adapted, from_tonic, from_torch
from snnax.datasets.digits import digits
from snnax.datasets.event_files import read_events, write_events
from snnax.datasets.events import Events
from snnax.datasets.frames import to_frames
from snnax.datasets.moving_digits import moving_digits
from snnax.datasets.padding import pad_batch
from snnax.datasets.points import yin_yang
from snnax.datasets.recordings import Recordings, recordings
from snnax.datasets.speech import speech

__all__ = [
    "Adapted",
    "Events",
    "Recordings",
    "digits",
    "from_tonic",
    "from_torch",
    "moving_digits",
    "pad_batch",
    "read_events",
    "recordings",
    "speech",
    "to_frames",
    "write_events",
    "yin_yang",
]
