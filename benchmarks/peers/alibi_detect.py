"""alibi-detect's tests per feature; see the package's docstring. Needs no other module of ours."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np


def main(directory: Path) -> None:
    import alibi_detect
    from alibi_detect.cd import CVMDrift, KSDrift

    reference, windows = np.load(directory / "reference.npy"), np.load(directory / "windows.npy")
    for name, test in (("KSDrift", KSDrift), ("CVMDrift", CVMDrift)):
        found = []
        for rows, of_baseline in zip(reference, windows, strict=True):
            detector = test(rows, p_val=0.05)
            found.append([detector.predict(window)["data"]["p_val"] for window in of_baseline])
        np.save(directory / f"alibi-detect {name}.npy", np.array(found, dtype=np.float64))
    (directory / "version.json").write_text(json.dumps({"alibi-detect": alibi_detect.__version__}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    # Its own directory has a module named like the package: it must not be found first.
    sys.path = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).parent.resolve()]
    main(Path(sys.argv[1]))
