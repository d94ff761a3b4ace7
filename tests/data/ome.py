"""Makes ome/, files of OME-TIFF for ome_mpi_test.cpp, and ome/expected.npz, what tifffile gives of them.

python3 ome.py, with numpy and tifffile 2025 or later.
"""

import pathlib
import shutil

import numpy
import tifffile

FOLDER = pathlib.Path(__file__).parent / "ome"
shutil.rmtree(FOLDER, ignore_errors=True)
FOLDER.mkdir()
expected = {}
random = numpy.random.RandomState(0)


def pixels(shape, dtype):
    return random.randint(0, numpy.iinfo(dtype).max + 1, shape).astype(dtype)


def keep(folder, name):
    """Each series as tifffile reads it, axes first to last T, Z, C, Y, X."""
    with tifffile.TiffFile(FOLDER / folder / name) as file:
        for number, series in enumerate(file.series):
            array, axes = series.asarray(), series.axes
            if axes.endswith("S"):  # samples of a page behind the pixels
                array, axes = numpy.moveaxis(array, -1, -3), axes[:-3] + "C" + axes[-3:-1]
            for axis in "TZC":
                if axis not in axes:
                    array, axes = array[None], axis + axes
            array = array.transpose([axes.index(axis) for axis in "TZCYX"])
            expected[f"{folder}/{name}/{number}"] = numpy.ascontiguousarray(array)


def write(folder, name, arrays, **options):
    (FOLDER / folder).mkdir(exist_ok=True)
    with tifffile.TiffWriter(FOLDER / folder / name, ome=True, bigtiff=options.pop("bigtiff", False)) as file:
        for array, metadata in arrays:
            file.write(array, metadata=metadata, **{"photometric": "minisblack", **options})
    keep(folder, name)


def channels(*names):
    return {"axes": "CYX", "Channel": {"Name": list(names)}}


# Two series of three channels with names; the one with stripes of its own, deflated.
write("series", "a.ome.tif", [(pixels((3, 6, 8), "u2"), channels("DNA", "ER", "RNA")) for _ in range(2)], rowsperstrip=4)
write("series", "b.ome.tif", [(pixels((3, 6, 8), "u2"), channels("DNA", "ER", "RNA"))], compression="zlib", bigtiff=True)

# Times and planes in either order of the pages.
write("stacks", "planes_first.ome.tif", [(pixels((2, 2, 3, 5, 4), "u1"), {"axes": "TCZYX"})])
write("stacks", "channels_first.ome.tif", [(pixels((2, 3, 2, 5, 4), "u1"), {"axes": "TZCYX"})])
write("stacks", "times_first.ome.tif", [(pixels((3, 2, 2, 5, 4), "u1"), {"axes": "ZCTYX"})])

# Colours of one page.
write("colours", "rgb.ome.tif", [(pixels((7, 5, 3), "u1"), {"axes": "YXS"})], photometric="rgb")

# Two wells with two fields in one file; and a set of two files, of which the second has no XML of its own.
HEAD = '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{uuid}">'


def image(number, planes, sizes='SizeX="4" SizeY="3" SizeC="1" SizeZ="1" SizeT="1"'):
    return (
        f'<Image ID="Image:{number}"><Pixels ID="Pixels:{number}" DimensionOrder="XYCZT" Type="uint8" {sizes}>'
        + planes
        + "</Pixels></Image>"
    )


def write_pages(folder, name, xml, pages):
    (FOLDER / folder).mkdir(exist_ok=True)
    with tifffile.TiffWriter(FOLDER / folder / name) as file:
        for number, page in enumerate(pages):
            file.write(page, description=xml if number == 0 else None, metadata=None, contiguous=False, photometric="minisblack")


uuids = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(3)]
wells = "".join(
    f'<Well ID="Well:{well}" Row="{row}" Column="{column}">'
    + "".join(
        f'<WellSample ID="WellSample:{well}:{field}" Index="{2 * well + field}"><ImageRef ID="Image:{2 * well + field}"/></WellSample>'
        for field in range(2)
    )
    + "</Well>"
    for well, (row, column) in enumerate([(0, 2), (26, 11)])
)
xml = (
    HEAD.format(uuid=uuids[0])
    + f'<Plate ID="Plate:0" Name="P7" RowNamingConvention="letter" ColumnNamingConvention="number">{wells}</Plate>'
    + "".join(image(number, f'<TiffData IFD="{3 - number}"/>') for number in range(4))  # the last page first
    + "</OME>"
)
write_pages("plate", "plate.ome.tif", xml.encode(), pixels((4, 3, 4), "u1"))
keep("plate", "plate.ome.tif")


def planes(*files):
    return "".join(
        f'<TiffData FirstC="{channel}" IFD="{page}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{uuid}</UUID></TiffData>'
        for channel, (name, uuid, page) in enumerate(files)
    )


two = 'SizeX="4" SizeY="3" SizeC="2" SizeZ="1" SizeT="1"'
body = image(0, planes(("1.ome.tif", uuids[1], 0), ("2.ome.tif", uuids[2], 1)), two) + image(
    1, planes(("1.ome.tif", uuids[1], 1), ("2.ome.tif", uuids[2], 0)), two
)
write_pages("set", "1.ome.tif", (HEAD.format(uuid=uuids[1]) + body + "</OME>").encode(), pixels((2, 3, 4), "u1"))
only = f'<BinaryOnly MetadataFile="1.ome.tif" UUID="urn:uuid:{uuids[1]}"/></OME>'
write_pages("set", "2.ome.tif", (HEAD.format(uuid=uuids[2]) + only).encode(), pixels((2, 3, 4), "u1"))
keep("set", "1.ome.tif")

numpy.savez(FOLDER / "expected.npz", **expected)
