"""frouros's tests per feature; see the package's docstring. Needs no other module of ours."""

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

STATISTICAL = ("KSTest", "MannWhitneyUTest", "WelchTTest")
DISTANCES = ("PSI", "EMD")


def main(directory: Path) -> None:
    from frouros.detectors import data_drift

    reference, windows = np.load(directory / "reference.npy"), np.load(directory / "windows.npy")
    features = reference.shape[2]
    for name in (*STATISTICAL, *DISTANCES):
        found = np.empty((*windows.shape[:2], features))
        for baseline, rows in enumerate(reference):
            detectors = [getattr(data_drift, name)() for _ in range(features)]
            for feature, detector in enumerate(detectors):
                detector.fit(X=rows[:, feature])
                for number, window in enumerate(windows[baseline]):
                    result = detector.compare(X=window[:, feature])[0]
                    found[baseline, number, feature] = result.p_value if name in STATISTICAL else result.distance
        suffix = "" if name in STATISTICAL else " distance"
        np.save(directory / f"frouros {name}{suffix}.npy", found)
    (directory / "version.json").write_text(json.dumps({"frouros": version("frouros")}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    # Its own directory has a module named like the package: it must not be found first.
    sys.path = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).parent.resolve()]
    main(Path(sys.argv[1]))
