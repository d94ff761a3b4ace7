"""Makes readers/, the fixtures of readers_test.cpp, and readers/expected.npz, what Python's readers give of them.

python3 readers.py, with pydicom 3.0, pyjpegls, pillow, zarr 3.1, nibabel 5.4, tifffile and openslide-python 1.4 (OpenSlide 3.4).
"""

import io
import pathlib
import shutil

import nibabel
import numpy
import numcodecs
import openslide
import PIL.Image
import pydicom
import pydicom.encaps
import pydicom.pixels
import tifffile
import zarr
import zarr.codecs

FOLDER = pathlib.Path(__file__).parent / "readers"
shutil.rmtree(FOLDER, ignore_errors=True)
FOLDER.mkdir()
expected = {}
random = numpy.random.RandomState(0)

# ---- DICOM
dicom = FOLDER / "dicom"
dicom.mkdir()
y, x = numpy.mgrid[:12, :10]
slope = (y * 200 + x * 31).astype("u2")


def save(name, pixels, photometric="MONOCHROME2", bits=None, compress=None, frames=None, **tags):
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3." + str(len(expected) + 1)
    data.SpecificCharacterSet = "ISO_IR 100"
    data.PatientID, data.Manufacturer, data.PatientName = "P" + name[0], "Größe & Söhne", "A^B"
    shape = pixels.shape[1:] if frames else pixels.shape
    data.Rows, data.Columns = shape[:2]
    data.SamplesPerPixel = shape[2] if len(shape) == 3 else 1
    if data.SamplesPerPixel == 3:
        data.PlanarConfiguration = 0
    if frames:
        data.NumberOfFrames = frames
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = pixels.dtype.itemsize * 8
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    for tag, value in tags.items():
        setattr(data, tag, value)
    data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    if compress == "jpeg":
        packed = io.BytesIO()
        PIL.Image.fromarray(pixels).save(packed, "JPEG", quality=95)
        data.PixelData = pydicom.encaps.encapsulate([packed.getvalue()])
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    elif compress:
        data.compress(compress)
    data.save_as(dicom / f"{name}.dcm", enforce_file_format=True)
    return pydicom.dcmread(dicom / f"{name}.dcm")


def rescaled(data):
    return pydicom.pixels.apply_modality_lut(data.pixel_array, data)


expected["dicom_gray16"] = save("gray16", slope, bits=12).pixel_array
expected["dicom_gray8"] = save("gray8", (slope // 16).astype("u1")).pixel_array
inverted = save("inverted", slope, "MONOCHROME1", bits=12)
expected["dicom_inverted"] = (4095 - inverted.pixel_array).astype("u2")
ct = save("ct", (slope.astype("i2") - 1000), RescaleSlope="1.5", RescaleIntercept="-24", WindowCenter=["40", "300"], WindowWidth=["400", "1500"])
expected["dicom_ct"] = rescaled(ct).astype("f4")


def window(values, centre, width):
    """PS3.3 C.11.2.1.2.1, from pydicom itself, with an output of 0 to 255."""
    data = pydicom.Dataset()
    data.WindowCenter, data.WindowWidth, data.PhotometricInterpretation = centre, width, "MONOCHROME2"
    data.BitsStored, data.PixelRepresentation = 8, 0
    return numpy.floor(pydicom.pixels.apply_windowing(values.astype("f8"), data) + 0.5).astype("u1")


expected["dicom_ct_window"] = window(rescaled(ct), 40, 400)
expected["dicom_ct_window_exact"] = window(rescaled(ct), 300, 1500)
rgb = numpy.stack([20 * y, 25 * x, 255 - 10 * (x + y)], -1).astype("u1")
expected["dicom_rgb"] = save("rgb", rgb, "RGB").pixel_array.transpose(2, 0, 1)
expected["dicom_rle"] = save("rle", rgb, "RGB", compress=pydicom.uid.RLELossless).pixel_array.transpose(2, 0, 1)
expected["dicom_jpegls"] = save("jpegls", slope, bits=12, compress=pydicom.uid.JPEGLSLossless).pixel_array
yy, xx = numpy.mgrid[:32, :32]
expected["dicom_jpeg"] = save("jpeg", (yy * 4 + xx * 3).astype("u1"), compress="jpeg").pixel_array
frames = numpy.stack([slope, slope[::-1], slope + 7])
expected["dicom_frames"] = save("frames", frames, frames=3).pixel_array
palette = numpy.arange(256, dtype="u2") * 257
tags = {}
for name, values in {"Red": palette, "Green": palette[::-1], "Blue": palette ^ 0x5555}.items():
    tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
    tags[f"{name}PaletteColorLookupTableData"] = values.astype("<u2").tobytes()
coloured = save("palette", (slope // 16).astype("u1"), "PALETTE COLOR", **tags)
expected["dicom_palette"] = (pydicom.pixels.apply_color_lut(coloured.pixel_array, coloured) >> 8).astype("u1").transpose(2, 0, 1)
yuv = pydicom.pixels.convert_color_space(rgb, "RGB", "YBR_FULL").astype("u1")
save("ybr", yuv, "YBR_FULL")
luma, blue, red = numpy.moveaxis(yuv.astype("f8"), -1, 0) - numpy.array([0, 128, 128]).reshape(3, 1, 1)
exact = [luma + 1.402 * red, luma - (0.114 * 1.772 * blue + 0.299 * 1.402 * red) / 0.587, luma + 1.772 * blue]  # PS3.3 C.7.6.3.1.2
expected["dicom_ybr"] = numpy.clip(numpy.stack(exact), 0, 255).round().astype("u1")  # pydicom itself is up to 2 away from this
save("japanese", slope, SpecificCharacterSet=["ISO 2022 IR 13", "ISO 2022 IR 87"], PatientID="P1", Manufacturer="A", PatientName="ﾔﾏﾀﾞ")
whole = (dicom / "gray16.dcm").read_bytes()
(FOLDER / "truncated.dcm").write_bytes(whole[:-40])

# ---- zarr
values = random.randint(0, 4000, (2, 3, 40, 44)).astype("u2")  # c, z, y, x


def attributes(axes, channels):
    return {
        "multiscales": [{"version": "0.4", "axes": [{"name": axis} for axis in axes], "datasets": [{"path": "0"}, {"path": "1"}]}],
        "omero": {"channels": [{"label": name} for name in channels]},
    }


def plate(wells):
    return {"plate": {"name": "P1", "rows": [{"name": "A"}], "columns": [{"name": "1"}, {"name": "2"}], "wells": [{"path": path} for path in wells]}}


def image(group, values, version, **options):
    for level in range(2):
        data = values if level == 0 else values[..., ::2, ::2]
        array = group.create_array(str(level), shape=data.shape, dtype=data.dtype, **options)
        array[...] = data
    axes = "tczyx"[5 - values.ndim:]
    ome = attributes(axes, ["DNA", "ER"])
    group.attrs.update({"ome": {"version": "0.5", **ome}} if version == 3 else ome)


store = zarr.open_group(FOLDER / "plate.zarr", mode="w", zarr_format=2)
store.attrs.update(plate(["A/1", "A/2"]))
for number, well in enumerate(["A/1", "A/2"]):
    group = store.create_group(well)
    group.attrs.update({"well": {"images": [{"path": "0"}]}})
    image(group.create_group("0"), values + number, 2, chunks=(1, 2, 32, 32), compressors=numcodecs.Blosc("lz4", shuffle=2), chunk_key_encoding={"name": "v2", "separator": "/"})
sharded = zarr.open_group(FOLDER / "sharded.zarr", mode="w", zarr_format=3)
image(sharded, values, 3, chunks=(1, 1, 16, 16), shards=(2, 3, 32, 32), compressors=zarr.codecs.ZstdCodec(level=3))
floats = (values[0, 0] / 7).astype("f4")
for name, options in {
    "gzip": dict(zarr_format=3, compressors=zarr.codecs.GzipCodec()),
    "raw": dict(zarr_format=3, compressors=None),
    "checked": dict(zarr_format=3, compressors=[zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()]),
    "big": dict(zarr_format=3, compressors=zarr.codecs.BloscCodec(cname="zstd"), serializer=zarr.codecs.BytesCodec(endian="big")),
    "zlib": dict(zarr_format=2, compressors=numcodecs.Zlib()),
}.items():
    array = zarr.create_array(FOLDER / f"{name}.zarr", shape=floats.shape, chunks=(16, 20), dtype="f4", fill_value=2.5, **options)
    array[:, :20] = floats[:, :20]  # other chunks stay away
    expected[f"zarr_{name}"] = zarr.open_array(FOLDER / f"{name}.zarr", mode="r")[:]
expected["zarr_plate"] = zarr.open_array(FOLDER / "plate.zarr" / "A" / "2" / "0" / "0", mode="r")[:]
expected["zarr_sharded"] = zarr.open_array(FOLDER / "sharded.zarr" / "0", mode="r")[:]
expected["zarr_max"] = expected["zarr_sharded"].max(1)
expected["zarr_mean"] = numpy.floor(expected["zarr_sharded"].mean(1) + 0.5).astype("u2")

# ---- slides
height, width = 300, 400
canvas = numpy.full((height, width, 3), 240, "u1")
canvas[60:220, 100:300] = random.randint(90, 130, (160, 200, 1)) + numpy.array([90, 0, 60])
description = "Aperio Image Library v11\n400x300 [0,0 400x300] (64x64)|AppMag = 20|MPP = 0.5|ScanScope ID = S1"
with tifffile.TiffWriter(FOLDER / "slide.svs") as file:
    options = dict(tile=(64, 64), photometric="rgb", compression="deflate", metadata=None)
    file.write(canvas, description=description, **options)
    file.write(canvas[::4, ::4], description=description, subfiletype=1, **options)
slide = openslide.OpenSlide(FOLDER / "slide.svs")
expected["slide_region"] = numpy.asarray(slide.read_region((90, 50), 0, (48, 40)).convert("RGB")).transpose(2, 0, 1)
expected["slide_level"] = numpy.asarray(slide.read_region((80, 40), 1, (30, 20)).convert("RGB")).transpose(2, 0, 1)
whole = numpy.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")).astype(int)
expected["slide_saturation"] = (255 * (whole.max(-1) - whole.min(-1)) // numpy.maximum(whole.max(-1), 1)).astype("u1")

# ---- NIfTI
volume = random.randint(-500, 500, (7, 5, 4)).astype("i2")
nifti = FOLDER / "nifti" / "sub-01" / "ses-2" / "anat"
nifti.mkdir(parents=True)
affine = numpy.array([[0, 0, 3.0, 1], [-2.0, 0.1, 0, 2], [0.05, -1.0, 0, 3], [0, 0, 0, 1]])  # stored: A to P, S to I, L to R
header = nibabel.Nifti1Image(volume, affine)
header.header.set_slope_inter(0.5, 3)
nibabel.save(header, nifti / "sub-01_ses-2_T1w.nii.gz")
series = nibabel.Nifti2Image(random.rand(4, 5, 6, 2).astype("f4"), numpy.diag([-1.0, 2, 3, 1]))
series.set_sform(None)
series.set_qform(numpy.diag([-1.0, 2, 3, 1]))
nibabel.save(series, nifti / "sub-01_ses-2_run-1_bold.nii")
for name in ["sub-01_ses-2_T1w.nii.gz", "sub-01_ses-2_run-1_bold.nii"]:
    image = nibabel.as_closest_canonical(nibabel.load(nifti / name))
    expected["nifti_" + name.split("_")[-1].split(".")[0]] = image.get_fdata().astype("f4")

numpy.savez_compressed(FOLDER / "expected.npz", **{name: numpy.ascontiguousarray(array) for name, array in expected.items()})
