"""
`oracle completion`: verbs and options at the press of a key.
"""

from __future__ import annotations

import click


@click.command(epilog='Example: eval "$(oracle completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """
    Print the script by which your shell completes verbs and options.

    For every new shell: put the example into ~/.bashrc, the same with zsh into ~/.zshrc; for fish
    write the output to ~/.config/fish/completions/oracle.fish.
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - for this alone

    from oracle.cli.main import cli  # noqa: PLC0415 - it names this module

    kind = get_completion_class(shell)
    assert kind is not None, "click knows every shell of the choice"
    click.echo(kind(cli, {}, "oracle", "_ORACLE_COMPLETE").source())
