"""Batches of several servers that stand for each other: each server counts its ids in its own way."""

import re

# The facade never gives such an id. It stands for the ids that Livy gave to requests that it then refused.
NEVER_GIVEN = 1_000_000


class Ids:
    """The ids of one server, as ordinals of the batches that the captured Livy accepted."""

    def __init__(self):
        self.ordinals = {}
        # Batches that the captured Livy did not accept, and that were deleted at once.
        self.undone = set()

    def accepted(self, answer_id, ordinal):
        self.ordinals[answer_id] = ordinal

    def label(self, number):
        """What stands for an id in all servers' answers."""
        if number in self.undone:
            return "another batch"
        ordinal = self.ordinals.get(number)
        return f"batch {ordinal}" if ordinal is not None else number % NEVER_GIVEN

    def of(self, ordinal):
        return next((number for number, other in self.ordinals.items() if other == ordinal), None)

    def translated(self, target, captured, counts_alike):
        """`target` with the id of the captured server replaced by this server's for the same batch."""
        match = re.match(r"/batches/(\d{1,6})(?=[/?]|$)", target)
        if not match:
            return target
        number = int(match[1])
        ordinal = captured.ordinals.get(number)
        if ordinal is not None:
            own = self.of(ordinal)
            number = NEVER_GIVEN + number if own is None else own
        elif captured.ordinals and not counts_alike:
            number += NEVER_GIVEN
        return f"/batches/{number}{target[match.end():]}"
