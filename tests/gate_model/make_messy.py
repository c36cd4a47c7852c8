"""Writes messy.csv: real molecules in a file nobody prepared, every fault at a known line."""

from pathlib import Path

BAD = {5: "not-a-smiles", 11: "C1CC", 17: "c1ccccc", 23: "C(C)(C)(C)(C)C", 29: "[Xx]"}


def alkanol(n: int) -> str:
    return "C" * n + "O"


def write(path: Path) -> None:
    """60 molecules: line = index + 2; `bp` complete, `ds` with holes and a text cell, `rare` with 3 labels."""
    lines = ["Name,SMILES,bp [K],ds,empty,rare"]
    structures = [alkanol(n) for n in range(1, 26)] + ["C" * n for n in range(3, 23)]
    structures += ["c1ccccc1" + "C" * n for n in range(1, 14)] + ["CCO", "CCO"]
    for index, smiles in enumerate(structures):
        line = index + 2
        bp = f"{300 + 7.5 * (index % 25) + index:.1f}"
        ds = "" if index % 3 == 0 else f"{0.7 + 0.003 * index:.4f}"
        rare = "1.5" if index in (1, 2, 4) else ""
        if line == 12:
            ds = "high"
        if line == 13:
            ds = "inf"
        if line == 14:
            bp = "NaN"
        lines.append(f"m{index},{BAD.get(line, smiles)},{bp},{ds},,{rare}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
