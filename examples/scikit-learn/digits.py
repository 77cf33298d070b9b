"""Trains five classifiers on scikit-learn's digits and writes each as an ONNX file with its manifest.

    .venv/bin/python examples/scikit-learn/digits.py models/digits
    ./sconsw -Q digits-forest.test

skl2onnx and scikit-learn are among the packages for development: ``./sconsw setup dev`` brings them. A third of the
digits, 450 of 8 × 8, play no part in training. They become a file, and what scikit-learn says of them another; the test
of each manifest has the module say the same of all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

CLASSIFIERS: dict[str, ClassifierMixin] = {
    "logistic": LogisticRegression(max_iter=2000),
    "perceptron": MLPClassifier(max_iter=300, random_state=0),
    "forest": RandomForestClassifier(random_state=0),
    "vectors": SVC(),
    "boosting": GradientBoostingClassifier(random_state=0),
}
MANIFEST = """\
# Which digit an image of 8 × 8 pixels from 0 to 16 shows, by {kind}: {accuracy:.2%} of those not trained on are right.
schema-version = 1

[model]
name = "digits-{name}"
path = "digits-{name}.onnx"
license = "Apache-2.0"

[[input]]
name = "X"
argument = "images"
shape = [{count}, 64]
range = [0, 16]

[[output]]
name = "label"
argument = "digits"

[[output]]
name = "probabilities"
argument = "scores"

[compile]
platforms = ["wasi", "web"]

[[test]]
name = "what scikit-learn says"
inputs = {{ images = "images.npy" }}
outputs = {{ digits = "{name}.npy" }}
"""


def main(folder: Path) -> None:
    """Trains the classifiers, writes all files, and prints the accuracy of each.

    Args:
        folder: Where they are put; it is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images, digits = load_digits(return_X_y=True)
    train, test, train_digits, test_digits = train_test_split(images.astype(np.float32), digits, random_state=0)
    np.save(folder / "images.npy", test)
    np.save(folder / "truth.npy", test_digits)
    for name, classifier in CLASSIFIERS.items():
        classifier.fit(train, train_digits)
        said = classifier.predict(test)
        np.save(folder / f"{name}.npy", said.astype(np.int64))
        model = to_onnx(classifier, train[:1], options={"zipmap": False})
        (folder / f"digits-{name}.onnx").write_bytes(model.SerializeToString())
        accuracy, kind = float((said == test_digits).mean()), type(classifier).__name__
        manifest = MANIFEST.format(name=name, kind=kind, accuracy=accuracy, count=len(test))
        (folder / f"digits-{name}.toml").write_text(manifest, encoding="utf-8")
        sys.stdout.write(f"{name:<10}  {kind:<26}  {accuracy:.2%}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
