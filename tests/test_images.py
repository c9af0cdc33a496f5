"""Orders, iterators and pictures against MXNet's; datasets in files; transforms on host and device."""

import gzip
import io
import tarfile

import numpy as np
import pytest
from golden.training import data as programs
from golden.training import recorded

import clgrad as mx
from clgrad import host_random, image, nd
from clgrad.errors import AbsentError, MXNetError, OperatorError, OperatorTypeError
from clgrad.gluon import data
from clgrad.gluon.data.vision import CIFAR10, CIFAR100, MNIST, FashionMNIST, ImageFolderDataset, transforms


def test_what_mxnet_does():
    ours, theirs = programs.answers(mx), recorded("data")
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if value.dtype.kind == "U":
            assert ours[key].tolist() == value.tolist()
            continue
        assert ours[key].dtype == value.dtype, key
        # OpenCV's weights for 8 bits are whole numbers
        atol = 1 if value.dtype == np.uint8 else 1e-6
        np.testing.assert_allclose(
            ours[key].astype(float), value.astype(float), rtol=1e-6, atol=atol, err_msg=key
        )


# Transforms


TRANSFORMS = [
    transforms.Cast("float16"),
    transforms.ToTensor(),
    transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1, 0.2, 0.3), 0.5)]),
    transforms.Resize((5, 4), interpolation=2),
    transforms.Resize(5, keep_ratio=True, interpolation=3),
    transforms.CropResize(1, 2, 5, 3, (8, 4)),
    transforms.CenterCrop(12),
    transforms.RandomCrop(9, pad=4),
    transforms.RandomResizedCrop(6, interpolation=10),
    transforms.RandomFlipLeftRight(),
    transforms.RandomFlipTopBottom(),
    transforms.RandomBrightness(0.5),
    transforms.RandomContrast(0.5),
    transforms.RandomSaturation(0.5),
    transforms.RandomHue(0.3),
    transforms.RandomColorJitter(0.3, 0.3, 0.3, 0.1),
    transforms.RandomLighting(0.1),
    transforms.RandomApply([transforms.RandomFlipLeftRight(), transforms.RandomBrightness(0.3)]),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: type(t).__name__)
def test_the_host_does_what_the_device_does(transform, rng):
    assert transform.takes_numpy
    picture = rng.integers(0, 256, (10, 8, 3)).astype(np.uint8)
    results = set()
    for seed in range(4):
        with host_random.seeded(seed):
            host = transform(picture)
        with host_random.seeded(seed):
            device = transform(nd.array(picture, dtype="uint8"))
        assert isinstance(host, np.ndarray)
        assert device.dtype == host.dtype.type
        atol = 1 if host.dtype == np.uint8 else 1e-5  # where a sum rounds otherwise
        np.testing.assert_allclose(device.asnumpy().astype(float), host.astype(float), atol=atol)
        results.add(host.tobytes())
    is_random = type(transform).__name__.startswith("Random")
    assert len(results) > 1 if is_random else len(results) == 1


@pytest.mark.parametrize("shape", [(3, 6, 9), (2, 3, 9, 6)])
@pytest.mark.parametrize(
    "transform",
    [transforms.Rotate(77, zoom_out=True), transforms.RandomRotation((-40, 40), rotate_with_proba=0.8)],
    ids=["all", "random"],
)
def test_rotations_on_the_host_are_those_on_the_device(transform, shape, rng):
    x = rng.uniform(0, 1, shape).astype(np.float32)
    turned = 0
    for seed in range(5):
        with host_random.seeded(seed):
            host = transform(x)
        with host_random.seeded(seed):
            device = transform(nd.array(x))
        assert host.dtype == np.float32
        np.testing.assert_allclose(device.asnumpy(), host, atol=1e-5)
        turned += not np.array_equal(host, x)
    assert turned == (5 if isinstance(transform, transforms.Rotate) else 4)


@pytest.mark.once
def test_angles_of_pictures_may_be_on_the_device(rng):
    x, degrees = rng.uniform(0, 1, (2, 1, 5, 4)).astype(np.float32), np.float32([10, -100])
    expected = [image.imrotate(picture, angle) for picture, angle in zip(x, degrees, strict=True)]
    for given in ((nd.array(x), nd.array(degrees)), (nd.array(x), degrees), (x, nd.array(degrees))):
        found = image.imrotate(*given)
        np.testing.assert_allclose(np.asarray(found), expected, atol=1e-5)


@pytest.mark.once
def test_changes_of_colour():
    """By formulas; MXNet draws the factors itself."""
    x = np.float32([[[10, 20, 30], [200, 100, 50]]])
    grey = x @ np.float32([0.299, 0.587, 0.114])
    np.testing.assert_allclose(transforms.RandomBrightness(1).changed(x, 1.5), 1.5 * x)
    np.testing.assert_allclose(
        transforms.RandomContrast(1).changed(x, 0.4), 0.4 * x + 0.6 * grey.mean(), rtol=1e-5
    )
    expected = 0.4 * x + 0.6 * grey[..., None]
    np.testing.assert_allclose(transforms.RandomSaturation(1).changed(x, 0.4), expected, rtol=1e-5)
    np.testing.assert_allclose(transforms.RandomHue(1).changed(x, 1.0), x, rtol=1e-5)
    turned = transforms.RandomHue(1).changed(x, 0.5)
    np.testing.assert_allclose(turned @ np.float32([0.299, 0.587, 0.114]), grey, rtol=2e-3)  # as bright
    byte = transforms.RandomBrightness(1).changed(x.astype(np.uint8), 1.5)
    np.testing.assert_array_equal(byte, [[[15, 30, 45], [255, 150, 75]]])


@pytest.mark.once
def test_batches_are_resized_picture_by_picture(rng):
    x = rng.integers(0, 256, (3, 7, 9, 3)).astype(np.uint8)
    crop = transforms.CropResize(1, 2, 4, 3, (2, 2))
    for transform in (transforms.Resize((5, 4)), transforms.Resize(5, keep_ratio=True), crop):
        expected = np.stack([transform(picture) for picture in x])
        np.testing.assert_array_equal(transform(x), expected)
        found = transform(nd.array(x, dtype=np.uint8)).asnumpy()
        assert np.abs(found.astype(int) - expected).max() <= 1  # halves are rounded either way


@pytest.mark.once
def test_pictures_of_grey_keep_their_colour(rng):
    x = rng.integers(0, 256, (4, 5, 1)).astype(np.uint8)
    for change in (transforms.RandomLighting(1), transforms.RandomHue(1), transforms.RandomSaturation(1)):
        np.testing.assert_array_equal(change(x), x)


@pytest.mark.once
def test_normalising_keeps_half_precision(rng):
    x = rng.uniform(0, 1, (3, 2, 2)).astype(np.float16)
    for given in (x, nd.array(x, dtype="float16")):
        found = transforms.Normalize((0.5, 0, 1), 0.5)(given)
        assert found.dtype == np.float16
        expected = (x - np.float16([0.5, 0, 1]).reshape(3, 1, 1)) * 2
        np.testing.assert_allclose(np.asarray(found), expected, atol=2e-3)


@pytest.mark.once
def test_descriptions_of_batches():
    """Lists of them, as MXNet's modules made them."""
    shapes = [("data", (2, 3)), ("label", (2,))]
    found = mx.io.DataDesc.get_list(shapes, [("data", np.float16), ("label", np.int32)])
    assert [(d.name, d.shape, d.dtype) for d in found] == [
        ("data", (2, 3), np.float16),
        ("label", (2,), np.int32),
    ]
    assert [d.dtype for d in mx.io.DataDesc.get_list(shapes)] == [np.float32] * 2
    batch = mx.io.DataBatch([nd.ones((2, 3))])
    assert str(batch) == "DataBatch: data shapes: [(2, 3)] label shapes: None"


@pytest.mark.once
def test_batches_of_more_samples_than_there_are():
    def passes(handle):
        batches = mx.io.NDArrayIter(np.arange(2), batch_size=5, last_batch_handle=handle)
        found = []
        for _ in range(3):
            found += [(batch.data[0].asnumpy().tolist(), batch.pad) for batch in batches]
            batches.reset()
        return found

    assert passes("pad") == [([0, 1, 0, 1, 0], 3)] * 3
    assert passes("discard") == []
    assert passes("roll_over") == [([0, 1, 0, 1, 0], 4)]


@pytest.mark.once
def test_transforms_in_workers_are_those_of_this_process(rng):
    dataset = data.ArrayDataset(
        rng.integers(0, 256, (12, 9, 9, 3)).astype(np.uint8), np.arange(12, dtype=np.int32)
    )
    augment = transforms.Compose(
        [transforms.RandomResizedCrop(6), transforms.RandomFlipLeftRight(), transforms.ToTensor()]
    )
    runs = []
    for workers in (0, 2):
        np.random.seed(1)
        loader = data.DataLoader(dataset.transform_first(augment), 4, shuffle=True, num_workers=workers)
        runs.append([[part.asnumpy() for part in batch] for batch in loader])
    for ours, theirs in zip(*runs, strict=True):
        assert ours[0].shape == (4, 3, 6, 6)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.once
@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: transforms.Resize(0), "size is 0"),
        (lambda: transforms.CenterCrop((1, 2, 3)), r"size is \(1, 2, 3\)"),
        (lambda: transforms.Normalize(0, 0), "std is 0"),
        (lambda: transforms.RandomHue(-1), "amount is -1"),
        (lambda: transforms.ToTensor()(np.ones(3)), r"x is of shape \(3,\)"),
        (lambda: image.imresize(np.ones((2, 2, 3)), 0, 1), "w is 0"),
        (lambda: transforms.Rotate(1, True, True), "Rotate: zoom_in, zoom_out is both True"),
        (lambda: transforms.RandomRotation((9, 9)), r"angle_limits is \(9, 9\)"),
        (lambda: transforms.RandomRotation((1, 9), rotate_with_proba=2), "rotate_with_proba is 2"),
        (lambda: image.imrotate(np.ones((3, 4, 4)), 5), r"imrotate: src is float64 \(3, 4, 4\)"),
        (lambda: image.imrotate(np.ones((3, 1, 4), np.float32), 5), "of 2 x 2 and more"),
        (lambda: image.imrotate(np.ones((3, 4, 4), np.float32), "5"), "rotation_degrees is '5'"),
        (lambda: image.imrotate(np.ones((2, 3, 4, 4), np.float32), np.ones(3)), "an array of 2"),
        (lambda: image.imresize(np.ones((2, 2, 3)), 1, 1, 7), "interp is 7"),
        (lambda: image.imresize(np.ones((2, 2)), 1, 1), r"src is of shape \(2, 2\)"),
        (lambda: image.fixed_crop(np.ones((4, 4, 3)), 1, 1, 4, 2), "the part is 4 x 2"),
        (lambda: mx.io.NDArrayIter(np.ones((3, 2)), np.ones(2)), "of lengths"),
        (lambda: mx.io.NDArrayIter(np.ones((3, 2)), batch_size=0), "batch_size is 0"),
        (lambda: mx.io.NDArrayIter(np.ones((0, 2))), "data is without samples"),
        (
            lambda: transforms.Normalize(0, 1)(np.ones((3, 2, 2), np.uint8)),
            "Normalize: x is of dtype uint8",
        ),
        (lambda: transforms.RandomContrast(0.1)(np.ones((2, 4, 4, 3))), r"x is of shape \(2, 4, 4, 3\)"),
        (lambda: transforms.RandomLighting(0.1)(np.ones((4, 4, 2))), r"x is of shape \(4, 4, 2\)"),
        (lambda: transforms.RandomFlipLeftRight()(np.ones((2, 4, 4, 3))), r"x is of shape \(2, 4, 4, 3\)"),
        (lambda: mx.io.NDArrayIter([]), "data is empty"),
        (lambda: mx.io.NDArrayIter(np.ones(3), last_batch_handle="keep"), "last_batch_handle is 'keep'"),
    ],
)
def test_bad_arguments(call, complaint):
    with pytest.raises(OperatorError, match=complaint):
        call()


@pytest.mark.once
def test_bad_kinds():
    with pytest.raises(OperatorTypeError, match="x is list"):
        transforms.ToTensor()([1])
    with pytest.raises(OperatorTypeError, match=r"data\['data'\] is no array of numbers"):
        mx.io.NDArrayIter(["a"])
    with pytest.raises(OperatorTypeError, match="label is int"):
        mx.io.NDArrayIter(np.ones(3), 5)


# Files


def encoded(picture: np.ndarray, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    pytest.importorskip("PIL.Image").fromarray(picture).save(file, form)
    return file.getvalue()


@pytest.mark.once
def test_pictures_in_files(tmp_path, rng, monkeypatch):
    picture = rng.integers(0, 256, (5, 4, 3)).astype(np.uint8)
    content = encoded(picture)
    path = tmp_path / "a.png"
    path.write_bytes(content)
    np.testing.assert_array_equal(image.imread(path).asnumpy(), picture)
    np.testing.assert_array_equal(image.imdecode(content, to_rgb=False).asnumpy(), picture[:, :, ::-1])
    np.testing.assert_array_equal(image.imdecode(np.frombuffer(content, np.uint8)).asnumpy(), picture)
    assert image.imdecode(content, flag=0).shape == (5, 4, 1)
    for damaged in (content[:40], content[:-40], b"", b"<html>" + content):
        with pytest.raises(MXNetError, match="imdecode: buf: is no picture that can be read"):
            image.imdecode(damaged)
    with pytest.raises(OperatorError, match="flag is 2"):
        image.imdecode(content, flag=2)
    monkeypatch.setattr(image, "Image", None)
    with pytest.raises(AbsentError, match=r"needs Pillow.*clgrad\[images\]"):
        image.imread(path)


@pytest.mark.once
def test_folders_of_pictures(tmp_path, rng):
    for kind, count in (("cat", 2), ("dog", 1)):
        (tmp_path / kind).mkdir()
        for i in range(count):
            (tmp_path / kind / f"{i}.png").write_bytes(
                encoded(rng.integers(0, 256, (4, 4, 3)).astype(np.uint8))
            )
    (tmp_path / "dog" / "notes.txt").write_text("woof")
    with pytest.warns(UserWarning, match="dog/notes.txt is left out"):
        dataset = ImageFolderDataset(tmp_path)
    assert dataset.synsets == ["cat", "dog"]
    assert [label for _, label in dataset] == [0, 0, 1]
    assert dataset[0][0].shape == (4, 4, 3)
    for workers in (0, 1):
        loader = data.DataLoader(dataset.transform_first(transforms.ToTensor()), 3, num_workers=workers)
        x, y = next(iter(loader))
        assert (x.shape, y.shape) == ((3, 3, 4, 4), (3,))
    with pytest.raises(MXNetError, match="there is no folder"):
        ImageFolderDataset(tmp_path / "none")


def write_idx(path, array: np.ndarray) -> None:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    content = bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_digits_and_clothes(kind, tmp_path, rng, monkeypatch):
    monkeypatch.setenv("MXNET_HOME", str(tmp_path))
    folder = tmp_path / "datasets" / kind._folder
    folder.mkdir(parents=True)
    x, y = rng.integers(0, 256, (6, 28, 28)).astype(np.uint8), np.uint8([0, 9, 3, 4, 5, 1])
    write_idx(folder / "train-images-idx3-ubyte.gz", x)
    write_idx(folder / "train-labels-idx1-ubyte", y)
    dataset = kind()
    picture, label = dataset[1]
    assert (picture.shape, picture.dtype, label) == ((28, 28, 1), np.uint8, 9)
    assert isinstance(picture, nd.NDArray)
    assert dataset[:4][0].shape == (4, 28, 28, 1)
    np.testing.assert_array_equal(picture.asnumpy()[:, :, 0], x[1])
    halved = kind(transform=lambda data, label: (data.astype("float32") / 2, label))
    for workers in (0, 1):
        (first, labels), _ = data.DataLoader(halved, 4, num_workers=workers)
        np.testing.assert_array_equal(first.asnumpy()[..., 0], x[:4] / 2)
        assert labels.asnumpy().tolist() == [0, 9, 3, 4]
    with pytest.raises(
        MXNetError, match=rf"{kind.__name__}: t10k-images-idx3-ubyte.gz .* is missing in {folder}"
    ):
        kind(train=False)


@pytest.mark.once
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c[:-1], "4,703 bytes behind the header, which tells of 4,704"),
        (lambda c: c + b"\0", "more bytes behind the header, which tells of 4,704"),
        (lambda c: b"<html>" + c, "not an idx file of bytes"),
        (lambda c: b"", "not an idx file of bytes"),
        (lambda c: c[:3] + b"\xff" + c[4:], "which tells of"),
        (lambda c: c[:4] + b"\0\0\0\0" + b"\xff" * 8, r"0 bytes .* tells of 0 \(shape \(0, 4294967295"),
        (lambda c: c[:4] + b"\xff" * 12 + c[16:], r"4,704 bytes .* \(shape \(4294967295"),
        (lambda c: c[:9], "the header is cut off after 9 bytes"),
        (lambda c: c[:7] + b"\5" + c[8:-784], "6 labels up to 5 for 5 pictures"),
        (lambda c: c[:11] + b"\x0e" + c[12:15] + b"\x38" + c[16:], r"expected: pictures of 28 x 28"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, complaint):
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((6, 28, 28), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(6, dtype=np.uint8))
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(MXNetError, match=complaint):
        MNIST(tmp_path)


@pytest.mark.once
def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    write_idx(path, np.zeros((6, 28, 28), np.uint8))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(MXNetError, match="cannot be unpacked"):
        MNIST(tmp_path)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"no archive")
    with pytest.raises(MXNetError, match=r"cifar-10-batches-bin/data_batch_1.bin cannot be read"):
        CIFAR10(tmp_path)


@pytest.mark.once
def test_cifar(tmp_path, rng):
    pixels = rng.integers(0, 256, (4, 3, 32, 32)).astype(np.uint8)
    flat, labels = pixels.reshape(4, -1), np.uint8([[1], [9], [0], [3]])
    (tmp_path / "test_batch.bin").write_bytes(np.hstack([labels, flat]).tobytes())
    dataset = CIFAR10(tmp_path, train=False)
    np.testing.assert_array_equal(dataset[1][0].asnumpy(), pixels[1].transpose(1, 2, 0))
    assert [label for _, label in dataset] == [1, 9, 0, 3]
    records = np.hstack([labels, labels * 11, flat])
    with tarfile.open(tmp_path / "cifar-100-binary.tar.gz", "w:gz") as archive:
        for name in ("train.bin", "test.bin"):
            info = tarfile.TarInfo(f"cifar-100-binary/{name}")
            info.size = records.nbytes
            archive.addfile(info, io.BytesIO(records.tobytes()))
    assert [label for _, label in CIFAR100(tmp_path)] == [1, 9, 0, 3]
    assert [label for _, label in CIFAR100(tmp_path, fine_label=True, train=False)] == [11, 99, 0, 33]
    (tmp_path / "test_batch.bin").write_bytes(bytes(3074))
    with pytest.raises(MXNetError, match="3,074 bytes; expected: a multiple of 3073"):
        CIFAR10(tmp_path, train=False)
    with pytest.raises(MXNetError, match=r"data_batch_1.bin, or cifar-10-binary.tar.gz, is missing in"):
        CIFAR10(tmp_path)


#: What MXNet 1.9.1 has in these modules, without what it imports there.
NAMES = {
    "io": """
        CSVIter DataBatch DataDesc DataIter ImageDetRecordIter ImageRecordInt8Iter
        ImageRecordIter ImageRecordIter_v1 ImageRecordUInt8Iter ImageRecordUInt8Iter_v1
        LibSVMIter MNISTIter MXDataIter NDArrayIter PrefetchingIter ResizeIter
    """,
    "image": """
        Augmenter BrightnessJitterAug CastAug CenterCropAug ColorJitterAug
        ColorNormalizeAug ContrastJitterAug CreateAugmenter CreateDetAugmenter
        CreateMultiRandCropAugmenter DetAugmenter DetBorrowAug DetHorizontalFlipAug
        DetRandomCropAug DetRandomPadAug DetRandomSelectAug ForceResizeAug
        HorizontalFlipAug HueJitterAug ImageDetIter ImageIter LightingAug RandomCropAug
        RandomGrayAug RandomOrderAug RandomSizedCropAug ResizeAug SaturationJitterAug
        SequentialAug center_crop color_normalize copyMakeBorder fixed_crop imdecode
        imread imresize imrotate random_crop random_rotate random_size_crop resize_short
        scale_down
    """,
    "gluon.data": """
        ArrayDataset BatchSampler DataLoader Dataset FilterSampler RandomSampler
        RecordFileDataset Sampler SequentialSampler SimpleDataset
    """,
    "gluon.data.vision": """
        CIFAR10 CIFAR100 FashionMNIST ImageFolderDataset ImageRecordDataset MNIST
    """,
    "gluon.data.vision.transforms": """
        Cast CenterCrop Compose CropResize Normalize RandomApply RandomBrightness
        RandomColorJitter RandomContrast RandomFlipLeftRight RandomFlipTopBottom RandomHue
        RandomLighting RandomResizedCrop RandomRotation RandomSaturation Resize Rotate
        ToTensor
    """,
    "gluon.contrib.data": "IntervalSampler",
}


@pytest.mark.once
@pytest.mark.parametrize("space", NAMES)
def test_names_are_there_or_say_why_not(space):
    module = mx
    for part in space.split("."):
        module = getattr(module, part)
    for name in set(NAMES[space].split()) - set(dir(module)):
        with pytest.raises(AbsentError, match=rf"{space}\.{name}: "):
            getattr(module, name)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        module.nonsense  # noqa: B018
