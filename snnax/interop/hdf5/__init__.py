"""Reading HDF5 files that may mean harm: every byte is checked in Python before it counts.

HDF5's own library is written in C and believes what a file says. Of damaged files it never returns, crashes, unpacks
any number of bytes, or hands out what was in memory as the file's numbers. Three ways around that were weighed:

* check first, then call the library: what is to be checked is all that the library reads, so that the check is a
  reader already, and the library's mistakes remain;
* call the library in a child process with limits: it starts in a third of a second for each file, has no limit of
  memory on macOS and none at all on Windows, needs an interpreter that can be started, and its numbers may be wrong;
* read the part of the format that networks are written with here. This is what is done. It is as fast as the
  library for files of a network's size, the same on every system, and can neither crash nor hang.

Two rules bound the work for any file. No byte of an honest file belongs to two things, so all that is read is at most
as large as the file. And what is packed is unpacked no further than the size that was checked before.

Read are: superblocks 0 to 3; object headers 1 and 2; groups as tables, lists or heaps of links; numbers, truth values,
complex numbers and text; arrays that are compact, contiguous or in chunks, packed by deflate or lzf, with or without
shuffle; attributes. What else HDF5 can hold is refused by name: links, references, other filters, other files, shared
or committed types, arrays that grow in one direction (``maxshape``) in the newest format.
"""

from __future__ import annotations

from snnax.interop.hdf5.objects import Dataset as Dataset
from snnax.interop.hdf5.objects import File as File
from snnax.interop.hdf5.objects import Group as Group
from snnax.interop.hdf5.source import Refused as Refused
