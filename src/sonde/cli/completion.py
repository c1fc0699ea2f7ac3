"""``sonde completion``: what makes a shell complete sonde's commands and options."""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class

SHELLS = {
    "bash": """add to ~/.bashrc:  eval "$(sonde completion bash)\"""",
    "zsh": """add to ~/.zshrc, after compinit:  eval "$(sonde completion zsh)\"""",
    "fish": "sonde completion fish > ~/.config/fish/completions/sonde.fish",
}
_VARIABLE = "_SONDE_COMPLETE"  # the name that click looks for


@click.command(short_help="Print a completion script for your shell.")
@click.argument("shell", type=click.Choice(list(SHELLS)), required=False)
@click.pass_context
def command(ctx: click.Context, *, shell: str | None) -> None:
    """Print the script that makes your shell complete sonde's commands and options.

    Without an argument it is for the shell in $SHELL. Its last line says how to install it.

    \b
    Examples:
      eval "$(sonde completion bash)"
      sonde completion fish > ~/.config/fish/completions/sonde.fish
    """
    name = shell or os.path.basename(os.environ.get("SHELL", ""))
    completion_class = get_completion_class(name) if name in SHELLS else None
    if completion_class is None:
        raise click.UsageError(f"no completion for the shell {name!r}; expected one of {', '.join(SHELLS)}", ctx=ctx)
    completion = completion_class(ctx.find_root().command, {}, "sonde", _VARIABLE)
    # Said in the script itself: on stderr it would come up in every new shell.
    click.echo(f"{completion.source().rstrip()}\n\n# To install it: {SHELLS[name]}")
