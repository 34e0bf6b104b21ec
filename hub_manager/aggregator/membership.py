"""Who takes part, as the hub manager changes it while the rounds go on.

Guarantees: cohorts count in the order in which the hub wrote them, whatever way and in whatever order they come; each
is taken up whole, in one step of the journal, together with its generation. So an old file, read after a newer cohort
or by a process that was started anew, lets nobody back in that the hub has revoked meanwhile.
"""

from federation.api.aggregator_run import Cohort
from hub_manager.aggregator.events import JoinPolicy
from hub_manager.aggregator.facts import CohortKnown, DurableFact, PeerDropped, PeerTaken
from hub_manager.aggregator.state import State


def changes(state: State, cohort: Cohort) -> tuple[DurableFact, ...]:
    """What a cohort changes in the run; nothing, where it is none newer than the run knows.

    Whoever is revoked is out, and in again from the next round on once a newer cohort has it as a member that is not.
    A cluster that is gone from the members without being revoked was deselected: with joinPolicy NextRound nobody waits
    for it any more, and it may be selected again; a run with a frozen cohort is not changed by a Placement that moves.
    """
    if cohort.generation <= state.generation:
        return ()
    revoked, members = frozenset(cohort.revoked), frozenset(state.members)
    wanted = frozenset(cohort.members) - revoked
    if state.terms.join_policy is JoinPolicy.NEXT_ROUND:
        out, back = members - wanted, wanted - members
    else:
        out, back = members & revoked, wanted & state.removed
    dropped, taken = map(PeerDropped, sorted(out)), map(PeerTaken, sorted(back))
    return (CohortKnown(cohort.generation), *dropped, *taken)
