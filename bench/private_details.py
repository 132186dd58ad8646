"""How many private details are found, and how often one is seen where there is none: `python -m bench.private_details`.

It takes Faker, which nothing else here needs (`pip install faker`): made-up details of China and the United States,
each in a sentence, and sentences without any.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable

from data_desk.privacy.stand_ins import StandIns

SENTENCES = {"zh_CN": "你好，我的是 {}，记一下", "en_US": "Hi, mine is {}, note it"}
SEED = 1


def missed(make: Callable[[], str], sentence: str, count: int) -> int:
    """Of `count` made-up details, those that are still to be read in their sentence."""
    lost = 0
    for _ in range(count):
        detail = " ".join(make().split())
        lost += detail[:8] in StandIns().replace(sentence.format(detail))
    return lost


def main() -> None:
    """Print a line for each kind, and one for the false alarms, of each language."""
    parser = argparse.ArgumentParser(prog="python -m bench.private_details", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="details of each kind")
    count = parser.parse_args().count
    faker = importlib.import_module("faker")
    for language, sentence in SENTENCES.items():
        fake = faker.Faker(language)
        fake.seed_instance(SEED)
        kinds = {
            "telephone": fake.phone_number,
            "e-mail": fake.email,
            "URL": fake.url,
            "address": fake.address,
            "ID": fake.ssn,
            "card": fake.credit_card_number,
        }
        for kind, make in kinds.items():
            sys.stdout.write(f"{language} {kind}: {1 - missed(make, sentence, count) / count:.1%} found\n")
        plain = [fake.sentence(20) for _ in range(count)]
        alarms = sum(StandIns().replace(text) != text for text in plain)
        sys.stdout.write(f"{language} sentences without any: {alarms} false alarms in {count}\n")


if __name__ == "__main__":
    main()
