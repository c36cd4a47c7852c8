"""The data of a run: `DataRequest` names them, loads them, splits them, and describes them in config.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gate_model.data.files.with_public import WithPublic
    from gate_model.data.splits import Split, Splitting
    from gate_model.data.table import PropertyTable

__all__ = ["DataRequest"]


@dataclass(frozen=True)
class DataRequest:
    """The data that a run uses, and how they are split. Nothing is read before `load`."""

    data: str = "chemicals"
    """"chemicals", or the path of a CSV file with a SMILES column."""
    tasks: tuple[str, ...] | None = None
    """Abbreviations or column names of the tasks; None: all tasks of the data."""
    smiles_column: str | None = None
    """Name of the SMILES column in the user's file; None: the column that is called smiles."""
    at_least: int = 1
    """Molecules with fewer labels are left out."""
    derived: bool = False
    """Include labels of `chemicals` that are computed from labels of other tasks."""
    join: str | None = None
    """Path of a CSV file whose tasks and molecules are added to those of `chemicals`."""
    public: bool = False
    """The public properties of `chemicals` join the file `data`, whose molecules decide the split."""
    splitting: "Splitting" = "scaffold"
    """How the molecules are split: "scaffold" or "random"."""
    fraction: float = 1.0
    """Share of the train and validation molecules that is kept, above 0 and at most 1."""

    def load(self, *, rebuild: bool = False) -> "PropertyTable":
        """Return the table. Its `set_aside` lists the rows, cells and columns of a user's file that are not used.

        Args:
            rebuild: build the chemicals table again, even if it is cached.

        Raises:
            DataError: a task, file or column cannot be used, or two settings exclude each other.
        """
        if self.public:
            return self.load_with_public(rebuild=rebuild).joined
        table = self._whole(rebuild)
        return table.with_at_least(self.at_least) if self.at_least > 1 else table

    def split(self, table: "PropertyTable", seed: int) -> "Split":
        """Return the split of the loaded `table` in the run with this seed."""
        from gate_model.data.files.with_public import joined_split  # noqa: PLC0415
        from gate_model.data.splits import split_of  # noqa: PLC0415

        if self.public:
            both = self.load_with_public()
            return joined_split(both, self.own_split(both, seed), seed=seed)
        return split_of(table, self.splitting, self.fraction, seed=seed)

    def load_with_public(self, *, rebuild: bool = False) -> "WithPublic":
        """The table of the file and the public one, apart.

        Raises:
            DataError: as `load`.
        """
        from gate_model.data.files.with_public import load_with_public  # noqa: PLC0415
        from gate_model.data.table import DataError  # noqa: PLC0415

        if self.data == "chemicals":
            raise DataError("--with chemicals is for --data FILE.csv; --data chemicals takes a file with --join")
        self._refuse_options_of_chemicals()
        return load_with_public(
            self.data, self.tasks, at_least=self.at_least, smiles_column=self.smiles_column, rebuild=rebuild
        )

    def own_split(self, data: "WithPublic", seed: int) -> "Split":
        """The parts of `data.mine`: those of a run with this seed on the file alone."""
        from gate_model.data.splits import split_of  # noqa: PLC0415

        return split_of(data.mine, self.splitting, self.fraction, seed=seed)

    def identity(self, table: "PropertyTable") -> dict[str, Any]:
        """Return what was requested and loaded, for config.json. A run can be resumed only if this is the same."""
        tasks: Sequence[str] | None = table.abbreviations
        if self.public:  # the names of the joined table do not say which of its columns are the file's
            tasks = self.tasks
        return {
            "data": self.data,
            **({"with": "chemicals"} if self.public else {}),
            "source": table.source,
            "tasks": None if tasks is None else list(tasks),
            "at_least": self.at_least,
            "molecules": len(table.smiles),
            "derived": self.derived,
            "join": self.join,
            "smiles_column": self.smiles_column,
            "split": self.splitting,
            "fraction": self.fraction,
        }

    @classmethod
    def from_identity(cls, config: Mapping[str, Any]) -> "DataRequest":
        """Return a request that loads the table of a run again; `config` must have the keys of `identity`."""
        return cls(
            data=config["data"],
            tasks=None if config["tasks"] is None else tuple(config["tasks"]),
            smiles_column=config["smiles_column"],
            at_least=config["at_least"],
            derived=config["derived"],
            join=config["join"],
            public="with" in config,
            splitting=config["split"],
            fraction=config["fraction"],
        )

    def _whole(self, rebuild: bool) -> "PropertyTable":
        """Load the table with all its molecules. The loaders are imported late, so that the help is fast."""
        from gate_model.data.chemicals.table import load_chemicals  # noqa: PLC0415
        from gate_model.data.files.join import load_joined  # noqa: PLC0415
        from gate_model.data.files.user_csv import read_csv  # noqa: PLC0415

        if self.data != "chemicals":
            self._refuse_options_of_chemicals()
            return read_csv(Path(self.data), tasks=self.tasks, smiles_column=self.smiles_column)
        if self.join is not None:
            return load_joined(
                self.join, self.tasks, derived=self.derived, smiles_column=self.smiles_column, rebuild=rebuild
            )
        return load_chemicals(self.tasks, derived=self.derived, rebuild=rebuild)

    def _refuse_options_of_chemicals(self) -> None:
        from gate_model.data.table import DataError  # noqa: PLC0415

        if self.derived or self.join:
            option = "--derived" if self.derived else f"--join {self.join}"
            raise DataError(f"{option} works with --data chemicals only; got --data {self.data}")
