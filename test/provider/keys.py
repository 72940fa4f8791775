"""Which API keys the provider accepts, whatever header a vendor has them in."""

KEY_PREFIX = "sk-test-"


class Keys:
    """`accepted` are the keys to accept; without any, every key that begins with KEY_PREFIX is."""

    def __init__(self, accepted=()):
        self._accepted = frozenset(accepted)

    def accept(self, key):
        return key in self._accepted if self._accepted else key.startswith(KEY_PREFIX)
