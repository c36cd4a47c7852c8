"""Which SMARTS patterns a molecule can hold at all, told by the kinds of its atoms and bonds.

Each atom of a pattern asks for an atom of some kind. A molecule that has no such atom does not hold the pattern, and
most patterns ask for something that most molecules lack. RDKit itself says which kinds match, once for each kind.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from gate_model.data.molecules.descriptors._atoms import Atoms

__all__ = ["Patterns"]

Needs = frozenset[int]
"""Masks of primitive queries; a molecule that holds the pattern answers all queries of at least one of them."""
_ANYTHING: Needs = frozenset({0})
_MANY = 200
_ATOMS = 256
"""Bits below are queries of atoms; those above, pairs of bound atoms."""
_KNOWN = {
    *("AtomAnd", "AtomOr", "AtomNull", "AtomType", "AtomAtomicNum", "AtomFormalCharge", "AtomNegativeFormalCharge"),
    *("AtomIsotope", "AtomTotalDegree", "AtomExplicitDegree", "AtomHCount", "AtomTotalValence", "AtomInNRings"),
    *("AtomIsAromatic", "AtomIsAliphatic", "AtomInRing"),
    *("BondAnd", "BondOr", "BondNull", "BondOrder", "SingleOrAromaticBond", "BondInRing"),
}
"""Queries whose answer is the same for all atoms, or bonds, of one kind."""


class Patterns:
    """SMARTS patterns, and for a molecule the numbers of those that it can hold.

    Args:
        patterns: molecules of `Chem.MolFromSmarts`.
    """

    def __init__(self, patterns: Sequence[Any]) -> None:
        self.patterns = patterns
        self._atoms, self._bonds = _Queries(), _Queries()
        self._edges: dict[tuple[int, int, bool, int], int] = {}
        needs = [(mask, number) for number, each in enumerate(patterns) for mask in self._of_pattern(each)]
        self._width = max(mask for mask, _ in needs).bit_length() // 64 + 1
        self._numbers = np.array([number for _, number in needs])
        self._needs = np.array([self._words(mask) for mask, _ in needs])
        self._of_edge: dict[tuple[int, int, bool, int], int] = {}

    def possible(self, atoms: Atoms) -> list[int]:
        """Numbers of the patterns that are worth matching; all others have no match."""
        answers = [self._atoms.answers(kind, atom) for kind, atom in zip(atoms.kinds, atoms.atoms, strict=True)]
        edges = {
            (answers[begin], self._bonds.answers(kind, bond), kind[1], answers[end])
            for (begin, end, _), kind, bond in zip(atoms.bonds, atoms.bond_kinds, atoms.bond_list, strict=True)
        }
        found = 0
        for edge in edges:
            if edge not in self._of_edge:
                self._of_edge[edge] = self._answered(*edge)
            found |= self._of_edge[edge]
        found <<= _ATOMS
        for answer in set(answers):
            found |= answer
        held = ~(self._needs & ~self._words(found)).any(1)
        return sorted(set(self._numbers[held].tolist()))

    def _words(self, bits: int) -> NDArray[np.uint64]:
        return np.frombuffer(bits.to_bytes(self._width * 8, "little"), dtype="<u8")

    def _answered(self, begin: int, bond: int, ring: bool, end: int) -> int:
        """The pairs of bound atoms in patterns that a bond of the molecule can stand for."""
        found = 0
        for (first, between, closed, second), mask in self._edges.items():
            here = begin & first == first and end & second == second
            there = end & first == first and begin & second == second
            if (here or there) and bond & between == between and ring >= closed:
                found |= mask
        return found

    def _of_pattern(self, pattern: Any) -> Needs:
        Chem.FastFindRings(pattern)
        return _all([*map(self._of_atom, pattern.GetAtoms()), *map(self._of_bond, pattern.GetBonds())])

    def _of_bond(self, bond: Any) -> Needs:
        ends = [
            0 if "$" in atom.GetSmarts() else self._atoms.mask(atom)
            for atom in (bond.GetBeginAtom(), bond.GetEndAtom())
        ]
        edge = ends[0], self._bonds.mask(bond), bond.IsInRing(), ends[1]
        mask = self._edges.setdefault(edge, 1 << len(self._edges))
        return frozenset({mask << _ATOMS})

    def _of_atom(self, atom: Any) -> Needs:
        text = atom.GetSmarts()
        if "$" not in text:
            return frozenset({self._atoms.mask(atom)})
        return _all(_any(map(self._of_term, _split(part, ","))) for part in _split(text[1:-1], ";"))

    def _of_term(self, term: str) -> Needs:
        """Of primitives that are joined by &: those without `$` ask together for one atom."""
        parts = _split(term, "&")
        plain = "&".join(part for part in parts if "$" not in part)
        needs = [self._of_pattern(Chem.MolFromSmarts(part[2:-1])) for part in parts if part.startswith("$")]
        if plain:
            needs.append(frozenset({self._atoms.mask(Chem.MolFromSmarts(f"[{plain}]").GetAtomWithIdx(0))}))
        return _all(needs)


class _Queries:
    """Queries of single atoms, or of single bonds, one bit each, and what each kind of atom or bond answers."""

    def __init__(self) -> None:
        self._masks: dict[str, tuple[int, Any]] = {}
        self._answers: dict[Any, int] = {}

    def mask(self, query: Any) -> int:
        """The bit of a query; 0, which anything answers, if kinds do not tell the answer."""
        if not query.HasQuery() or not _names(query.DescribeQuery()) <= _KNOWN:
            return 0
        return self._masks.setdefault(query.DescribeQuery(), (1 << len(self._masks), query))[0]

    def answers(self, kind: Any, part: Any) -> int:
        """The bits of the queries that an atom or bond of this kind matches."""
        if kind not in self._answers:
            self._answers[kind] = sum(mask for mask, query in self._masks.values() if query.Match(part))
        return self._answers[kind]


def _all(needs: Iterable[Needs]) -> Needs:
    masks = _ANYTHING
    for each in needs:
        masks = frozenset(mask | other for mask in masks for other in each)
        if len(masks) > _MANY:
            return _ANYTHING
    return masks


def _any(needs: Iterable[Needs]) -> Needs:
    return frozenset().union(*needs)


def _names(description: str) -> set[str]:
    return {line.split()[0] for line in description.splitlines()}


def _split(text: str, separator: str) -> list[str]:
    """At separators outside all brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == separator and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
