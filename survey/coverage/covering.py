"""The covering problem behind the choice of sites, and what of it cannot matter."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from survey.errors import RuleError
from survey.frame.lines import Floats, Ints, count_up

Flags = npt.NDArray[np.bool_]

_BITS = 40_000_000_000  # to look at for dominance: some ten seconds, and half a gigabyte
_PROBES = 12  # members that are looked at first


@dataclass(frozen=True, eq=False)
class Problem:
    """Sites that reach pieces; without a budget everything is to be covered.

    Attributes
    ----------
    weight
        Of each piece, shape (pieces,).
    reach, by_piece
        Which pieces each site reaches, sparse with ones, shape (sites, pieces); and transposed.
    cost
        Of each site, shape (sites,).
    budget
        What the sites may cost together.
    """

    weight: Ints
    reach: Any  # sites x pieces
    by_piece: Any  # pieces x sites
    cost: Floats
    budget: float | None

    def value(self, chosen: Flags) -> float:
        """Measure what is to be as great as can be."""
        if self.budget is None:
            return -float(self.cost[chosen].sum())
        return int(self.weight[self.count(chosen) > 0].sum())

    def allows(self, chosen: Flags) -> bool:
        """Tell whether the chosen sites cover what must be covered, or keep the budget."""
        if self.budget is None:
            return bool((self.count(chosen) > 0).all())
        return bool(self.cost[chosen].sum() <= self.budget + 1e-9)

    def count(self, chosen: Flags) -> Ints:
        """Count by how many of the chosen sites each piece is covered."""
        pieces, _ = list_cells(self.reach, np.flatnonzero(chosen))
        return np.bincount(pieces, minlength=len(self.weight))


def check_input(
    weight: Ints,
    reach: Any,
    cost: Floats,
    add: int | None,
    budget: float | None,
    time_limit_s: float,
) -> tuple[Ints, Any, Floats]:
    """Check what `choose_sites` is given, and bring it into one form.

    Raises
    ------
    RuleError
        If something is wrong, as `choose_sites` says.
    """
    weight, cost = np.asarray(weight), np.asarray(cost, dtype=np.float64)
    if reach.shape != (len(cost), len(weight)):
        raise RuleError(
            f"reach has shape {reach.shape}, but there are {len(cost)} costs of sites and"
            f" {len(weight)} weights of demand; give one row per site, one column per piece"
        )
    if len(weight) and (not (weight >= 0).all() or (weight % 1 != 0).any()):
        raise RuleError("a weight of demand is below 0 or not whole; give whole millimetres")
    if not (np.isfinite(cost) & (cost > 0)).all():
        raise RuleError(f"a site costs {cost[~(cost > 0)][:1]}; every cost must be above 0")
    if add is not None and budget is not None:
        raise RuleError(f"both add ({add}) and budget ({budget}) are given; give one of them")
    if add is not None and (add < 1 or add % 1):
        raise RuleError(f"add is {add}; give how many sites to add, 1 or more")
    if budget is not None and not budget > 0:
        raise RuleError(f"budget is {budget}; it must be above 0")
    if not time_limit_s > 0:
        raise RuleError(f"time_limit_s is {time_limit_s}; it must be above 0")
    cells = sparse.csr_array(reach, dtype=np.float64)
    if cells.nnz < np.iinfo(np.int32).max:
        # scipy keeps the width of row numbers, and narrow ones are read twice as fast.
        narrow = (cells.indices.astype(np.int32), cells.indptr.astype(np.int32))
        cells = sparse.csr_array((cells.data, *narrow), shape=cells.shape)
    cells.eliminate_zeros()
    cells.sum_duplicates()
    cells.data[:] = 1
    return weight.astype(np.int64), cells, cost


def pose_problem(weight: Ints, reach: Any, cost: Floats, budget: float | None) -> Problem:
    """Make a problem in which pieces that the same sites reach are one piece."""
    by_piece = reach.T.tocsr()
    by_piece.sort_indices()
    first: dict[bytes, int] = {}
    ends = by_piece.indptr
    group = np.array(
        [
            first.setdefault(by_piece.indices[ends[row] : ends[row + 1]].tobytes(), len(first))
            for row in range(len(weight))
        ],
        dtype=np.int64,
    )
    kept = np.unique(group, return_index=True)[1]
    total = np.zeros(len(kept), dtype=np.int64)
    np.add.at(total, group, weight)
    by_piece = by_piece[kept]
    return Problem(total, by_piece.T.tocsr(), by_piece, cost, budget)


def reduce_problem(problem: Problem) -> tuple[Problem, Flags, Ints]:
    """Drop sites and pieces that cannot matter.

    Returns
    -------
    Problem
        What is left.
    forced
        Which sites stand in every solution, shape (sites,).
    site
        Rows of the sites of what is left.
    """
    site = np.arange(len(problem.cost))
    forced = np.full(len(problem.cost), False)
    while True:
        cells = problem.reach.nnz
        kept = np.setdiff1d(np.arange(len(problem.cost)), _find_worse(problem))
        site = site[kept]
        piece = np.arange(len(problem.weight))
        if problem.budget is None:
            reach = problem.reach[kept]
            piece = np.setdiff1d(piece, _find_implied(reach))
            alone = np.bincount(reach[:, piece].indices, minlength=len(piece)) == 1
            must = np.unique(reach[:, piece[alone]].nonzero()[0])
            forced[site[must]] = True
            done, _ = list_cells(reach, must)
            piece = np.setdiff1d(piece, done)
        reach, cost = problem.reach[kept][:, piece], problem.cost[kept]
        useful = np.flatnonzero(np.diff(reach.indptr) > 0)
        site, cost = site[useful], cost[useful]
        problem = pose_problem(problem.weight[piece], reach[useful], cost, problem.budget)
        if problem.reach.nnz >= 0.8 * cells:
            return problem, forced, site


def _find_worse(problem: Problem) -> Ints:
    """Rows of the sites whose reach is all within that of another that costs no more."""
    size, cost = np.diff(problem.reach.indptr), problem.cost
    bits = _pack(problem.by_piece)
    worse = []
    for site in range(len(cost)) if bits is not None else ():
        rival = _find_supersets(problem.reach, bits, site)
        # Of equals the cheaper is better, and of those the first.
        tie = (size[rival] > size[site]) | (rival < site)
        better = (cost[rival] < cost[site]) | ((cost[rival] == cost[site]) & tie)
        if better.any():
            worse.append(site)
    return np.array(worse, dtype=np.int64)


def _find_implied(reach: Any) -> Ints:
    """Rows of the pieces that are covered whenever another one is."""
    by_piece = reach.T.tocsr()
    bits = _pack(reach)
    implied = np.full(by_piece.shape[0], False)
    order = np.argsort(np.diff(by_piece.indptr), kind="stable")
    for piece in order if bits is not None else ():
        if not implied[piece]:
            implied[_find_supersets(by_piece, bits, piece)] = True
            implied[piece] = False
    return np.flatnonzero(implied)


def _pack(matrix: Any) -> Any:
    """Pack a sparse matrix into bits, unless the work on them would take too long."""
    rows, columns = matrix.shape
    if columns * max(matrix.nnz, 10 * rows) > _BITS:
        return None
    starts = range(0, rows, 1_000)
    parts = [np.packbits(matrix[at : at + 1_000].toarray() > 0, axis=1) for at in starts]
    return np.concatenate(parts) if parts else None


def _find_supersets(sets: Any, bits: Any, row: int) -> Ints:
    """Rows of the sets that hold all members of one; `bits` has a row of sets per member."""
    members = sets.indices[sets.indptr[row] : sets.indptr[row + 1]]
    # Some members are enough to see that most sets are within no other one.
    for some in (members[:: len(members) // _PROBES + 1], members):
        common = np.bitwise_and.reduce(bits[some], axis=0)
        byte = np.flatnonzero(common)
        line, bit = np.nonzero(np.unpackbits(common[byte][:, None], axis=1))
        found = byte[line] * 8 + bit
        if len(found) < 2:
            break
    rows: Ints = found[found < sets.shape[0]]
    return rows


def list_cells(matrix: Any, rows: Ints) -> tuple[Ints, Ints]:
    """List the columns of the cells of some rows, and which of the rows each cell is of."""
    first = matrix.indptr[rows]
    owner, step = count_up(matrix.indptr[rows + 1] - first)
    return matrix.indices[first[owner] + step], owner


def rank_sites(weight: Ints, reach: Any, rows: Ints) -> tuple[Ints, Ints]:
    """Order sites by what each adds, the most first; those that add nothing are dropped."""
    part = reach[rows]
    left = weight.astype(np.float64)
    order, gains = [], []
    for _ in rows:
        gain = part @ left
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            break
        order.append(rows[best])
        gains.append(int(gain[best]))
        left[list_cells(part, np.array([best]))[0]] = 0
    return np.array(order, dtype=np.int64), np.array(gains, dtype=np.int64)
