"""Plot."""


def draw(document, folder):
    """Draw nothing yet."""
