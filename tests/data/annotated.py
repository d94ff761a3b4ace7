"""Makes annotated/, the fixtures of annotated_test.cpp, and annotated/expected.npz, what pycocotools and Pillow give of them.

python3 annotated.py, with pycocotools 2.0.11 and pillow.
"""

import json
import pathlib
import shutil

import numpy
import PIL.Image
from pycocotools import mask as regions
from pycocotools.coco import COCO

FOLDER = pathlib.Path(__file__).parent / "annotated"
shutil.rmtree(FOLDER, ignore_errors=True)
HEIGHT, WIDTH = 29, 37
random = numpy.random.RandomState(0)
expected = {}


def picture(file, seed):
    file.parent.mkdir(parents=True, exist_ok=True)
    y, x = numpy.mgrid[:HEIGHT, :WIDTH]
    PIL.Image.fromarray(((x * 5 + y * 3 + seed * 40) % 256).astype("u1")).save(file)


# ---- COCO: polygons of all forms (some cross themselves or leave the image), runs, and COCO's text of runs
def polygon():
    corners = random.uniform(-0.2, 1.2, (random.randint(3, 9), 2)) * [WIDTH, HEIGHT]
    return [round(float(value), int(random.choice([0, 1, 2]))) for value in corners.ravel()]


def blot():
    y, x = numpy.mgrid[:HEIGHT, :WIDTH]
    middle = random.uniform(0, 1, 2) * [HEIGHT, WIDTH]
    return ((y - middle[0]) ** 2 + (x - middle[1]) ** 2 < random.uniform(1, 12) ** 2).astype("u1")


def runs_of(mask):
    values = numpy.concatenate([[0], mask.ravel(order="F"), [2]])
    ends = numpy.flatnonzero(numpy.diff(values))
    return numpy.diff(numpy.concatenate([[0], ends])).tolist()


def segmentation(kind):
    if kind == "polygons":
        return [polygon() for _ in range(random.randint(1, 4))]
    mask = blot()
    if kind == "runs":
        return {"size": [HEIGHT, WIDTH], "counts": runs_of(mask)}
    return {"size": [HEIGHT, WIDTH], "counts": regions.encode(numpy.asfortranarray(mask))["counts"].decode()}


images, annotations = [], []
for number in range(4):
    name = f"{'ab'[number % 2]}/{number}.png"
    picture(FOLDER / "coco" / name, number)
    images.append({"id": 70 - number, "file_name": name, "height": HEIGHT, "width": WIDTH, "plate": f"P{number % 2}", "well": number, "flickr_url": None})
for number in range(60):
    kind = ["polygons", "polygons", "runs", "text"][number % 4]
    left, top = random.uniform(0, WIDTH - 9), random.uniform(0, HEIGHT - 9)
    annotations.append({
        "id": 1000 + number, "image_id": 70 - int(random.randint(3)), "category_id": int(random.choice([3, 8, 5])), "iscrowd": int(number % 10 == 6),
        "segmentation": segmentation(kind), "area": 1.0,
        "bbox": [round(float(value), 2) for value in (left, top, random.uniform(0, 9), random.uniform(0, 9))]})
categories = [{"id": 8, "name": "mitosis"}, {"id": 3, "name": "nucleus"}, {"id": 5, "name": "debris"}]
coco = {"info": {"year": 2026}, "licenses": [], "annotations": annotations, "images": images, "categories": categories}
(FOLDER / "coco" / "cells.json").write_text(json.dumps(coco))

judge = COCO(FOLDER / "coco" / "cells.json")
order = [category["id"] for category in categories]
expected["single"] = numpy.stack([judge.annToMask(annotation) for annotation in annotations])
for number, image in enumerate(images):
    types, instances, boxes = numpy.zeros((HEIGHT, WIDTH), "u1"), numpy.zeros((HEIGHT, WIDTH), "i4"), []
    for annotation in (each for each in annotations if each["image_id"] == image["id"]):
        inside = judge.annToMask(annotation) == 1
        types[inside] = 1 + order.index(annotation["category_id"])
        if annotation["iscrowd"]:
            instances[inside] = -1
            continue
        x, y, width, height = annotation["bbox"]
        boxes.append([x, y, x + width, y + height, order.index(annotation["category_id"])])
        instances[inside] = len(boxes)
    expected[f"types_{number}"], expected[f"instances_{number}"] = types, instances
    expected[f"boxes_{number}"] = numpy.array(boxes, "f4").reshape(-1, 5)

# ---- Pascal VOC: lists, annotations and masks with a palette
voc = FOLDER / "voc"
names = ["2007_000027", "2007_000032", "2008_000008"]
objects = {
    "2007_000027": [("person", "0", (9, 4, 37, 29)), ("dog", "1", (1, 1, 5, 6))],
    "2007_000032": [("aeroplane", "0", (3, 2.5, 30, 20))],
    "2008_000008": [],
}
palette = [value for number in range(256) for value in (number, 255 - number, number // 2)]
for name in names:
    picture(voc / "JPEGImages" / f"{name}.png", names.index(name))
    text = "".join(
        f"<object>\n<name>{kind}</name><pose>Left</pose><difficult>{difficult}</difficult>"
        f"<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>\n"
        for kind, difficult, box in objects[name])
    (voc / "Annotations").mkdir(exist_ok=True)
    (voc / "Annotations" / f"{name}.xml").write_text(
        f'<?xml version="1.0"?>\n<!-- a < b -->\n<annotation verified="yes">\n<folder>VOC2012</folder><filename>{name}.jpg</filename>\n'
        f"<source><database>The {name[:4]} Database</database></source>\n"
        f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>1</depth></size>\n<segmented>1</segmented>\n{text}</annotation>\n")
    for folder, most in (("SegmentationClass", 21), ("SegmentationObject", 3)):
        mask = random.choice([*range(most), 255], (HEIGHT, WIDTH)).astype("u1")
        image = PIL.Image.fromarray(mask, "P")
        image.putpalette(palette)
        (voc / folder).mkdir(exist_ok=True)
        image.save(voc / folder / f"{name}.png")
        expected[f"{folder}_{name}"] = numpy.asarray(PIL.Image.open(voc / folder / f"{name}.png"))
for kind in ("Main", "Segmentation"):
    (voc / "ImageSets" / kind).mkdir(parents=True)
    (voc / "ImageSets" / kind / "train.txt").write_text(f"{names[0]}\n{names[2]}\n")
    (voc / "ImageSets" / kind / "val.txt").write_text(f"{names[1]}\n")
    (voc / "ImageSets" / kind / "trainval.txt").write_text("\n".join(names) + "\n")

# ---- what a mask of 1, 2 and 4 bits holds
for bits in (1, 2, 4):
    mask = random.randint(0, 2 ** bits, (5, 7)).astype("u1")
    image = PIL.Image.fromarray(mask, "P")
    image.putpalette(palette[:3 * 2 ** bits])
    image.save(FOLDER / f"bits{bits}.png", bits=bits)
    expected[f"bits{bits}"] = mask
numpy.savez_compressed(FOLDER / "expected.npz", **expected)
