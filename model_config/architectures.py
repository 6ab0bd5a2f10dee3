"""What keras.applications documents for each of its classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# convention of its preprocess_input -> class -> default image size (height = width)
_ARCHITECTURES_BY_CONVENTION: dict[str, dict[str, int]] = {
    "tf": {
        "InceptionResNetV2": 299,
        "InceptionV3": 299,
        "MobileNet": 224,
        "MobileNetV2": 224,
        "NASNetLarge": 331,
        "NASNetMobile": 224,
        "ResNet101V2": 224,
        "ResNet152V2": 224,
        "ResNet50V2": 224,
        "Xception": 299,
    },
    "caffe": {"ResNet101": 224, "ResNet152": 224, "ResNet50": 224, "VGG16": 224, "VGG19": 224},
    "torch": {"DenseNet121": 224, "DenseNet169": 224, "DenseNet201": 224},
    "none": {
        "ConvNeXtBase": 224,
        "ConvNeXtLarge": 224,
        "ConvNeXtSmall": 224,
        "ConvNeXtTiny": 224,
        "ConvNeXtXLarge": 224,
        "EfficientNetB0": 224,
        "EfficientNetB1": 240,
        "EfficientNetB2": 260,
        "EfficientNetB3": 300,
        "EfficientNetB4": 380,
        "EfficientNetB5": 456,
        "EfficientNetB6": 528,
        "EfficientNetB7": 600,
        "EfficientNetV2B0": 224,
        "EfficientNetV2B1": 240,
        "EfficientNetV2B2": 260,
        "EfficientNetV2B3": 300,
        "EfficientNetV2L": 480,
        "EfficientNetV2M": 480,
        "EfficientNetV2S": 384,
        "MobileNetV3Large": 224,
        "MobileNetV3Small": 224,
    },
}
ARCHITECTURES: Mapping[str, tuple[str, int]] = {
    name: (convention, size)
    for convention, sizes in _ARCHITECTURES_BY_CONVENTION.items()
    for name, size in sizes.items()
}
