"""The description of a property table in the terminal."""

from rich.table import Table

from gate_model.data.table import PropertyTable

__all__ = ["description"]

_PARTNERS = 3


def description(table: PropertyTable) -> Table:
    """Return a table with one row per task: labels, the paper's count, the range, and the tasks it overlaps most."""
    view = Table(title=f"{len(table.smiles)} molecules from {table.source}")
    for column in ("task", "name", "unit", "kind"):
        view.add_column(column)
    facts = table.describe()
    numbers = ["labels", *(["derived"] if facts["derived"].any() else []), "paper", "min", "median", "max"]
    for column in numbers:
        view.add_column(column, justify="right")
    view.add_column("shares most molecules with")
    facts["paper"] = [f"{paper:.0f}" if paper > 0 else "" for paper in facts["paper"]]
    for column in ("min", "median", "max"):
        facts[column] = facts[column].map("{:.4g}".format)
    order = ["task", "name", "unit", "kind", *numbers]
    for row, (_, shared) in zip(facts[order].itertuples(index=False), table.overlaps().iterrows(), strict=True):
        partners = shared.drop(row[0]).astype(int).nlargest(_PARTNERS)
        view.add_row(*map(str, row), ", ".join(f"{name} {count}" for name, count in partners.items() if count))
    return view
