# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Read a report critically
#
# A study leaves a folder: `report.html` for people, `summary.json` for programs, every score behind
# them in `results/`. Here a small one is made twice, once as it is and once with the personas'
# names dealt anew for each request, so that nothing can be true of any of them.

# %%
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

SMALL = {
    "layers": [2, 5],
    "max_personas": 7,
    "max_requests": 48,
    "n_nulls": 4,
    "write_answers": False,
    "parts": [],
}


def study(folder: Path, **settings: object) -> dict:
    """What the study finds, from its ``summary.json``."""
    asked = [f"{key}={json.dumps(value)}" for key, value in (SMALL | settings).items()]
    command = [sys.executable, "-m", "analyses._cli", "study", "whos-asking", "--out", str(folder)]
    for each in asked:
        command += ["--set", each]
    subprocess.run(command, check=True, capture_output=True)
    return json.loads((folder / "summary.json").read_text())


with tempfile.TemporaryDirectory() as kept:
    found = study(Path(kept) / "true")
    dealt = study(Path(kept) / "dealt", shuffle_labels=True)
    print(sorted(path.name for path in (Path(kept) / "true").iterdir()))

# %% [markdown]
# ## 1. Is there anything to study?
#
# A model that refuses nothing, or everything alike, gives numbers all the same.

# %%
print(found["message"])
for name, value in found["baseline"].items():
    print(name, value)

# %% [markdown]
# ## 2. What stands beside the effect?
#
# An effect alone means little. Each row has the control persona's effect on the same requests, the
# interval, the p before and after correction, and the number of requests.


# %%
def effects(summary: dict) -> pd.DataFrame:
    """One row an effect."""
    return pd.json_normalize(summary["effects"])


table = effects(found)
table.head(12)

# %% [markdown]
# ## 3. What would chance have claimed?
#
# The same table with dealt names. What is claimed there is false by construction.

# %%
for name, summary in (("as it is", found), ("names dealt anew", dealt)):
    rows = effects(summary)
    rows = rows[rows["kind"] == "persona"]
    print(f"{name:18} {int(rows['claim'].sum())} of {len(rows)} effects claimed")
assert not effects(dealt).query("kind == 'persona'")["claim"].any()

# %% [markdown]
# ## 4. What was tried, and what was chosen?
#
# The layer is chosen on requests that nothing is tested on; the difference between the score it had
# there and the one it has on test requests is the optimism of the choice. p is corrected over
# everything that was tried. Before you believe a headline, ask which of these a paper left out.

# %%
columns = [name for name in table.columns if "layer" in name or "optimism" in name or name == "p"]
table[["persona", "treatment", *columns]].head(12)
