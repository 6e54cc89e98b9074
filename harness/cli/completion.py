"""``tornwrite completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

import click

from harness.cli.output import print_line

_WHERE = """\b
Where to put it:
  bash  ~/.local/share/bash-completion/completions/tornwrite
  zsh   _tornwrite, in a directory of fpath, before compinit
  fish  ~/.config/fish/completions/tornwrite.fish"""


@click.command("completion", epilog=_WHERE)
@click.argument("shell", type=click.Choice(["bash", "fish", "zsh"]))
def command(shell: str) -> int:
    """Print the completion script of a shell; put it where the shell looks for it."""
    from click.shell_completion import get_completion_class

    from harness.cli.app import app

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(app, {}, "tornwrite", "_TORNWRITE_COMPLETE").source().rstrip()
    # What is no command or option of ours is mostly a file: leave those to the shell.
    print_line(script.replace("complete -o nosort -F", "complete -o nosort -o bashdefault -o default -F"))
    return 0
