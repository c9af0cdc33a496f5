"""Data: orders of samplers, datasets and iterators, and what is made of pictures."""

import numpy as np


def _picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def answers(mx) -> dict[str, np.ndarray]:
    return _orders(mx) | _iterators(mx) | _images(mx) | _transforms(mx) | _rotations(mx)


def _orders(mx) -> dict:
    data = mx.gluon.data
    found = {}
    np.random.seed(3)
    found["random"] = list(data.RandomSampler(9)) + list(data.RandomSampler(5))
    for last in ("keep", "discard", "rollover"):
        batches = data.BatchSampler(data.RandomSampler(7), 3, last)
        for i in range(3):
            found[f"batches.{last}{i}"] = [len(batches), *(x for batch in batches for x in [*batch, -1])]
    dataset = data.SimpleDataset(list(range(10)))
    found["shards"] = [x for i in range(4) for x in [*dataset.shard(4, i), -1]]
    found["take"] = list(dataset.take(4))
    found["filter"] = list(dataset.filter(lambda x: x % 3 == 1))
    found["sample"] = list(dataset.sample(data.SequentialSampler(3, 2)))
    found["transform"] = list(dataset.transform(lambda x: x * x, lazy=False))
    pairs = data.ArrayDataset(mx.nd.array([[1, 2], [3, 4]]), mx.nd.array([5, 6]), np.array([7, 8]))
    found["pairs"] = [str(type(x)).split(".")[-1] for x in pairs[1]]
    loader = data.DataLoader(pairs.transform_first(lambda x: x + 1), 2)
    found |= {f"batch{i}": array.asnumpy() for i, array in enumerate(next(iter(loader)))}
    return {f"orders.{name}": np.asarray(value) for name, value in found.items()}


def _iterators(mx) -> dict:
    found = {}
    x, y = np.arange(14).reshape(7, 2), np.arange(7)
    for last in ("pad", "discard", "roll_over"):
        for shuffle in (False, True):
            np.random.seed(4)
            batches = mx.io.NDArrayIter(x, y, 3, shuffle, last)
            rows = []
            for _ in range(3):
                for batch in batches:
                    rows.append([*batch.label[0].asnumpy(), batch.pad, batch.data[0].asnumpy().sum()])
                batches.reset()
            found[f"{last}{shuffle}"] = np.array(rows)
    batches = mx.io.NDArrayIter({"b": x, "a": mx.nd.array(y, dtype="int32")}, [y, x], 2)
    found["provided"] = np.array([str(d) for d in batches.provide_data + batches.provide_label])
    found["text"] = np.array(str(next(batches)))
    return {f"iter.{name}": value for name, value in found.items()}


#: Sizes before and after: (height, width).
SIZES = [((8, 9), (5, 4)), ((6, 5), (12, 15)), ((7, 8), (7, 4)), ((9, 6), (4, 11))]


def _images(mx) -> dict:
    found = {}
    image = mx.image
    for i, (before, (height, width)) in enumerate(SIZES):
        x = mx.nd.array(_picture(*before, i), dtype="uint8")
        for interp in (0, 1, 2, 3, 4):
            if interp == 3 and (height > before[0] or width > before[1]):
                continue  # where OpenCV's areas are something of its own
            found[f"resize{i}.{interp}"] = image.imresize(x, width, height, interp)
    x = mx.nd.array(_picture(12, 8), dtype="uint8")
    found["short"] = image.resize_short(x, 5, 1)
    found["short.high"] = image.resize_short(mx.nd.array(_picture(6, 10), dtype="uint8"), 9, 1)
    found["fixed"] = image.fixed_crop(x, 1, 2, 4, 5)
    found["fixed.resized"] = image.fixed_crop(x, 1, 2, 4, 5, (6, 3), 1)
    found["center"], place = image.center_crop(x, (5, 4), 1)
    found["center.place"] = mx.nd.array(place)
    found["center.small"], place = image.center_crop(x, (16, 10), 1)
    found["center.small.place"] = mx.nd.array(place)
    found["normalize"] = image.color_normalize(
        x.astype("float32"), mx.nd.array([1, 2, 3]), mx.nd.array([4, 5, 6])
    )
    found = {name: value.asnumpy() for name, value in found.items()}
    found["scale_down"] = np.array(
        [image.scale_down((640, 480), s) for s in ((720, 120), (100, 900), (3, 4))]
    )
    return {f"image.{name}": value for name, value in found.items()}


def _transforms(mx) -> dict:
    t = mx.gluon.data.vision.transforms
    x = mx.nd.array(_picture(8, 6), dtype="uint8")
    tensor = t.ToTensor()(x)
    found = {
        "tensor": tensor,
        "tensor.batch": t.ToTensor()(mx.nd.stack(x, x)),
        "cast": t.Cast("float16")(x),
        "normalize": t.Normalize((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))(tensor),
        "normalize.one": t.Normalize(0.5, 0.25)(tensor),
        "resize": t.Resize((4, 5))(x),
        "resize.ratio": t.Resize(4, keep_ratio=True)(x),
        "crop": t.CropResize(1, 2, 4, 3)(x),
        "center": t.CenterCrop((4, 5))(x),
        "compose": t.Compose([t.CenterCrop(4), t.ToTensor(), t.Normalize(0.5, 0.5)])(x),
        # Factors whose range is one point
        "brightness": t.RandomBrightness(0)(x),
        "contrast": t.RandomContrast(0)(x),
        "saturation": t.RandomSaturation(0)(x),
        "lighting": t.RandomLighting(0)(x),
        "resize.batch": t.Resize((4, 5))(mx.nd.stack(x, x)),
        "crop.batch": t.CropResize(1, 2, 4, 3)(mx.nd.stack(x, x)),
        "resize.grey": t.Resize((4, 5))(x[:, :, :1]),
        "normalize.half": t.Normalize(0.5, 0.25)(tensor.astype("float16")),
    }
    return {f"transform.{name}": value.asnumpy() for name, value in found.items()}


def _rotations(mx) -> dict:
    """Of pictures that are wider and higher than the other way, by angles beyond a turn, too."""
    t = mx.gluon.data.vision.transforms
    found = {}
    for shape in ((3, 5, 8), (2, 1, 7, 4)):
        x = mx.nd.array(np.random.RandomState(3).uniform(0, 1, shape))
        for degrees in (0, 30, -100.5, 400):
            name = f"{len(shape)}.{degrees}"
            found[name] = t.Rotate(degrees)(x)
            found[f"{name}.in"] = t.Rotate(degrees, zoom_in=True)(x)
            found[f"{name}.out"] = t.Rotate(degrees, False, True)(x)
    found["each"] = mx.image.imrotate(x, mx.nd.array([20, -50]), zoom_out=True)
    np.random.seed(2)
    found["random"] = mx.image.random_rotate(x, (-90, 90))
    return {f"rotation.{name}": value.asnumpy() for name, value in found.items()}
