"""Bugs in the menu that asks, and in the keys that it is asked by."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

MENU, KEYS = "wizard/menu.py", "wizard/screen/keys.py"
TESTS = "tests/wizard/test_menu.py::"
LEAD = TESTS + "test_keys_lead_to_rows_and_enter_chooses"
LEAVE = TESTS + "test_escape_takes_the_menu_away_and_control_c_leaves_the_question"

MUTANTS = (
    Mutant(
        "an arrow stops at a row that can't be chosen",
        MENU,
        "self._can = [number for number, line in enumerate(lines) if not line.disabled]",
        "self._can = list(range(len(lines)))",
        (LEAD,),
    ),
    Mutant(
        "up from the first row leads nowhere",
        MENU,
        "(place + (1 if key == keys.DOWN else -1)) % len(self._can)",
        "min(max(place + (1 if key == keys.DOWN else -1), 0), len(self._can) - 1)",
        (LEAD,),
    ),
    Mutant("a digit of full width means nothing", MENU, "FULL_WIDTH.get(key, key)", "key", (LEAD,)),
    Mutant(
        "rows that can't be chosen take a digit",
        MENU,
        '[(own or next(free, "")) if fits else "" for',
        '[(own or next(free, "")) if fits else next(free, "") for',
        (LEAD,),
    ),
    Mutant(
        "Esc leaves the menu on the screen",
        MENU,
        "menu.clear()\n                    return None",
        "return None",
        (LEAVE,),
    ),
    Mutant("Ctrl-C goes back as Esc does", KEYS, '("\\x03", "\\x11"), CANCEL', '("\\x03", "\\x11"), ESCAPE', (LEAVE,)),
    Mutant(
        "a row of pasted text chooses",
        KEYS,
        "if sequence == _PASTE:",
        'if sequence == "never":',
        (LEAD,),
    ),
    Mutant(
        "what was typed ahead is thrown away",
        KEYS,
        "termios.tcsetattr(self._terminal, termios.TCSADRAIN, mode)",
        "termios.tcsetattr(self._terminal, termios.TCSAFLUSH, mode)",
        (TESTS + "test_keys_that_are_typed_ahead_answer_the_next_question",),
    ),
    Mutant(
        "the key behind Esc is lost",
        KEYS,
        "Keys._ahead = byte\n",
        'Keys._ahead = b""\n',
        (TESTS + "test_a_key_right_behind_escape_is_the_next_questions",),
    ),
    Mutant(
        "the terminal stays without an echo",
        KEYS,
        "termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)",
        "self._before = []",
        (TESTS + "test_the_terminal_is_as_it_was_afterwards",),
    ),
    Mutant(
        "a menu that is higher than the window shows its first rows alone",
        MENU,
        "first = max(0, min(self.at - room // 2, len(self.lines) - room))",
        "first = 0",
        (TESTS + "test_a_menu_that_is_higher_than_the_window_shows_what_is_around_the_pointer",),
    ),
    Mutant(
        "a menu keeps the width that the window had",
        MENU,
        "return os.get_terminal_size() != self._size",
        "return False",
        (TESTS + "test_a_menu_is_drawn_anew_where_the_window_changes_its_size",),
    ),
    Mutant(
        "rows that came to say more are not drawn",
        MENU,
        "menu.lines = newer\n",
        "pass\n",
        (TESTS + "test_rows_can_come_to_say_more_while_they_stand",),
    ),
    Mutant(
        "an answer that is wider than the line breaks it",
        MENU,
        "answer = cut(answer, max(room, 1))",
        "answer = answer + ' ' * 9 + answer",
        (TESTS + "test_the_answered_line_has_the_rows_name_and_breaks_nowhere",),
    ),
)
