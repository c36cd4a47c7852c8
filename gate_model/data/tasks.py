"""The tasks: what describes one, and the forty of the paper's Table 3."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["CATALOGUE", "Kind", "Task", "summary"]

Kind = Literal["tabulated", "correlation", "mixed", "derived", "computed", "user"]
"""Where a label comes from:

- "tabulated": a printed value;
- "correlation": a fitted equation, evaluated at 298.15 K;
- "mixed": a compilation that does not tell measured from estimated values;
- "derived": a function of other tasks' labels;
- "computed": quantum chemistry;
- "user": a user's file.

A task with labels of several kinds is "mixed"."""


@dataclass(frozen=True)
class Task:
    """One property to predict."""

    abbreviation: str
    """Abbreviation in the paper's Table 3, or name of the column in a user's file."""
    name: str
    unit: str
    """Unit of the labels after `transform`; empty if it is unknown."""
    kind: Kind = "user"
    """Kind of the labels; "user" until a library gives some."""
    transform: Literal["identity", "log10"] = "identity"
    """The function that is applied to the values of a library."""
    paper: int | None = None
    """Number of labels in the paper's Table 3."""


def summary(kinds: Iterable[Kind]) -> Kind:
    """Return the kind of a task whose labels are of these kinds; "user" if there are none."""
    found = set(kinds)
    return "mixed" if len(found) > 1 else next(iter(found), "user")


CATALOGUE: dict[str, Task] = {
    task.abbreviation: task
    for task in (
        Task("HV", "enthalpy of vaporization at 298.15 K", "kJ/mol", paper=1504),
        Task("VS", "viscosity of the liquid at 298.15 K", "log10(mPa.s)", transform="log10", paper=1307),
        Task("ST", "surface tension at 298.15 K", "mN/m", paper=977),
        Task("DS", "density of the liquid at 298.15 K", "g/cm3", paper=3079),
        Task("BP", "normal boiling point", "K", paper=8044),
        Task("RI", "refractive index", "1", paper=11143),
        Task("MP", "melting point", "K", paper=22901),
        Task("LP", "log10 of the octanol-water partition coefficient", "1", paper=28268),
        Task("AS", "Abraham descriptor S", "1", paper=1915),
        Task("DK", "dielectric constant at 298.15 K", "log10(1)", transform="log10", paper=999),
        Task("DM", "dipole moment", "D", paper=11224),
        Task("FP", "flash point", "K", paper=9409),
        Task("IP", "ionization potential (P in Table 3)", "eV", paper=898),
        Task("PKA", "acidic pKa", "1", paper=9514),
        Task("POL", "polarizability", "A3", paper=457),
        Task("VP", "vapor pressure at 298.15 K", "log10(Pa)", transform="log10", paper=4262),
        Task("AW", "wavelength of maximum absorbance", "nm", paper=11896),
        Task("CT", "critical temperature", "K", paper=2414),
        Task("HC", "gross standard enthalpy of combustion", "kJ/mol", paper=2118),
        Task("HF", "hydration free energy", "kJ/mol", paper=648),
        Task("LF", "lower flammability limit temperature", "K", paper=1646),
        Task("HM", "HOMO energy level", "eV", paper=97262),
        Task("LM", "LUMO energy level", "eV", paper=97262),
        Task("CPL", "molar heat capacity of the liquid at 298.15 K", "J/mol/K", paper=387),
        Task("CPG", "molar heat capacity of the ideal gas at 298.15 K", "J/mol/K", paper=264),
        Task("CPS", "molar heat capacity of the solid at 298.15 K", "J/mol/K", paper=218),
        Task("MVL", "molar volume of the liquid at 298.15 K", "cm3/mol", paper=8513),
        Task("MVS", "molar volume of the solid", "cm3/mol", paper=218),
        Task("HVC", "enthalpy of vaporization at the boiling point", "kJ/mol", paper=1957),
        Task("CTP", "critical pressure", "MPa", paper=3007),
        Task("CTV", "critical volume", "cm3/mol", paper=2413),
        Task("GEF", "Gibbs energy of formation of the ideal gas at 298.15 K", "kJ/mol", paper=1828),
        Task("MAS", "molar magnetic susceptibility", "1e-6 cm3/mol", paper=432),
        Task("NEC", "net standard enthalpy of combustion", "kJ/mol", paper=1182),
        Task("PAR", "parachor", "(mN/m)^0.25.cm3/mol", paper=960),
        Task("ROG", "radius of gyration", "A", paper=1370),
        Task("SPA", "solubility parameter at 298.15 K", "MPa^0.5", paper=1509),
        Task("SAE", "absolute entropy in the standard state at 298.15 K", "J/mol/K", paper=1072),
        Task("SEF", "enthalpy of formation in the standard state at 298.15 K", "kJ/mol", paper=1638),
        Task("UFT", "upper flammability limit temperature", "K", paper=1443),
    )
}
"""The paper's tasks by abbreviation. Their sources are declared in `gate_model.data.chemicals.declarations`; tasks
without a declaration can only come from a user's file."""
