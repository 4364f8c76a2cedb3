"""The commands of what a release says at its end, as somebody pastes them."""


def commands(notes):
    """Lines that are indented, with their indentation: it has to do no harm."""
    return "".join(f"{line}\n" for line in notes.splitlines() if line.startswith("  "))
