#!/usr/bin/env python3
"""Finds the costs of src/chat/tokens.c and writes src/chat/token_costs.h.

fit.py VOCABULARIES FILE... > src/chat/token_costs.h

VOCABULARIES is a directory as counts.py fills it; the files are natural texts and code in UTF-8, of many kinds and
languages. Needs numpy, scipy and tiktoken. The committed costs come from Vim's user manual and its tutors in 24 languages,
Python's library, PostgreSQL's headers and catalogue scripts, Perl's library, and JSON files of a Debian system.

A text's cost is a sum over the features that the scan in tokens.c sees. What each feature costs is a linear programme:
the sum of estimates, each relative to its text's count, shall be smallest, while no estimate is below its count: of
pieces of the files (with 6 % to spare) and of random strings (2 %). Pseudo-words, made of letter pairs as frequent as in
the files, may be underestimated by 15 %: a bound for them would cost every English text a fifth more.
"""
import collections
import os
import random
import re
import string
import sys

import numpy
import scipy.sparse
from scipy.optimize import linprog

import counts

UNIT = 32
OVERHEAD = 2
PIECE = 400
RANDOM = random.Random(7)
LETTERS = string.ascii_lowercase

# What is known without fitting: (lowest, highest) cost in tokens. Others lie between 0 and 1.2.
BOUNDS = {
    "digits": (1, 1), "number after space": (1, 1), "certain": (1, 1), "second space": (1, 1), "space run": (1, 1),
    "other space": (1, 1), "first space": (0, 1 / 16), "word after space": (1, 1), "word elsewhere": (1, 1.2),
    "punctuation": (1, 1), "repeated punctuation": (0.5, 0.55), "repeated rule": (1 / 16, 1 / 16),
    "upper after lower": (0, 1), "Latin": (0.3, 2), "Greek": (0, 2), "Cyrillic": (0, 2),
}
PAIR_BOUNDS = (3 / UNIT, 1)


class Vocabularies:
    def __init__(self):
        import tiktoken
        self.encodings = [tiktoken.get_encoding(name) for name in ("cl100k_base", "o200k_base")]
        self.blocks = [max(self.count_character(code) for code in range(start, start + 64))
                       for start in range(0x800, 0x10000, 64)]
        self.common_han = [code for code in range(0x4E00, 0xA000) if self.count_character(code) == 1]
        self.common_set = set(self.common_han)

    def count(self, text):
        return max(len(encoding.encode_ordinary(text)) for encoding in self.encodings)

    def count_character(self, code):
        return 1 if 0xD800 <= code < 0xE000 else self.count(chr(code))

    def certain_cost(self, code):
        """Of a character that is charged by itself, or 0."""
        if code < 32 or code == 127:
            return 1
        if code < 0x800:
            return 2
        if code < 0x10000:
            return 1 if code in self.common_set else self.blocks[(code - 0x800) // 64]
        return 3 if 0x1F000 <= code < 0x20000 else 4


def script(code):
    if 0x80 <= code < 0x180:
        return "Latin"
    if 0x370 <= code < 0x400:
        return "Greek"
    return "Cyrillic" if 0x400 <= code < 0x530 else None


def features(text, vocabularies):
    """The scan of tokens.c, as counts of what it sees."""
    seen = collections.Counter()
    previous, run, word = "\0", 0, 0
    for c in text:
        if c.isascii() and c.isalpha():
            word += 1
            if word == 1:
                seen["word after space" if previous == " " else "word elsewhere"] += 1
            elif c.isupper() and not previous.isupper():
                seen["upper after lower"] += 1
            else:
                seen[previous.lower() + c.lower()] += 1
            if word > 16:
                seen["long word"] += 1
        else:
            word = 0
            if c in " \t\n\r":
                run = run + 1 if c == previous else 1
                if c != previous:
                    seen["first space" if c == " " else "other space"] += 1
                elif c == "\r" or run == 2:
                    seen["second space"] += 1
                elif run % 16 == 0:
                    seen["space run"] += 1
            elif c.isascii() and c.isdigit():
                run = run + 1 if previous.isascii() and previous.isdigit() else 1
                seen["digits"] += run % 3 == 1
                seen["number after space"] += run == 1 and previous == " "
            elif script(ord(c)):
                seen[script(ord(c))] += 1
            elif c in string.punctuation:
                same = "repeated rule" if c in "-=#*._/" else "repeated punctuation"
                seen[same if c == previous else "punctuation"] += 1
            else:
                seen["certain"] += vocabularies.certain_cost(ord(c))
        previous = c
    return seen


def shuffled(word):
    return "".join(RANDOM.sample(word, len(word)))


def pseudo_words(natural):
    followers = collections.defaultdict(list)
    for word in re.findall("[a-z]+", " ".join(natural[:600]).lower()):
        for pair in zip("^" + word, word + "$"):
            followers[pair[0]].append(pair[1])

    def word(minimum):
        letters = "^"
        while len(letters) < 15:
            following = RANDOM.choice(followers[letters[-1]])
            if following == "$":
                if len(letters) > minimum:
                    break
                continue
            letters += following
        return letters[1:]

    return [" ".join(word(RANDOM.choice((0, 3, 6))) for _ in range(60)) for _ in range(400)]


def random_strings(natural):
    yield from (text for kind, text in counts.corpus() if kind in ("base64", "hexadecimal", "digits", "white space", "random"))
    for _ in range(250):
        yield from (counts.words(alphabet, 40, 12, separator) for alphabet in (LETTERS, string.ascii_uppercase)
                    for separator in (" ", ""))
        yield counts.words(string.ascii_letters + string.digits, 1, 300)
        yield counts.words(string.printable[:95], 1, 300)
        yield counts.words(string.punctuation, 1, 200)
        yield counts.words(RANDOM.choice((" \n", " \t", " \t\n\r")), 1, 200)
        yield counts.words(string.printable[:95], 1, 4) * 60
        yield " ".join(map(shuffled, RANDOM.choice(natural).split()))
    for separator in (" ", "  ", "\t", "\n", "\n\n", "\n  ", " \n", ". ", ", ", "_", "-", "/", ":", ",", "|", "\r\n"):
        yield from (counts.words(LETTERS, 80, 2, separator) for _ in range(4))
    yield from (c * RANDOM.randint(40, 300) for c in string.printable)


def solve(texts, vocabularies):
    """texts are (margin, weight, text); the cost of each feature in tokens."""
    tokens = numpy.array([vocabularies.count(text) for _, _, text in texts], float)
    seen = [features(text, vocabularies) for _, _, text in texts]
    names = sorted(set().union(*seen, BOUNDS, (a + b for a in LETTERS for b in LETTERS)))
    place = {name: number for number, name in enumerate(names)}
    matrix = scipy.sparse.csr_matrix(
        ([count for row in seen for count in row.values()],
         ([number for number, row in enumerate(seen) for _ in row], [place[name] for row in seen for name in row])),
        shape=(len(texts), len(names)))
    needed = tokens * [margin for margin, _, _ in texts] - OVERHEAD
    weights = numpy.array([weight for _, weight, _ in texts]) / tokens
    bounds = [BOUNDS.get(name, PAIR_BOUNDS if len(name) == 2 else (0, 1.2)) for name in names]
    # Where nothing can be saved, the margin is not asked for: each text may fall short, at a high price.
    short = scipy.sparse.identity(len(texts))
    result = linprog(numpy.concatenate([matrix.T @ weights, numpy.full(len(texts), 100.0)]),
                     A_ub=scipy.sparse.hstack([-matrix, -short]), b_ub=-needed,
                     bounds=bounds + [(0, None)] * len(texts), method="highs-ipm")
    return {name: int(numpy.ceil(round(cost * UNIT, 6))) for name, cost in zip(names, result.x)}


HEADER = """/*
 * token_costs.h
 *		What pieces of text cost in tokens, at most.  Made by test/tokens/fit.py
 *		from the vocabularies of cl100k_base and o200k_base; internal to tokens.c.
 */
#ifndef LLM_ROUTER_TOKEN_COSTS_H
#define LLM_ROUTER_TOKEN_COSTS_H

/*
 * In 32nds of a token, as all costs.  WORD_ELSEWHERE: the first letter of a word
 * that follows no space.  UPPER_AFTER_LOWER: instead of the pair.  LONG_WORD, beyond the rest: a letter
 * after the 16th of a word.  REPEATED_PUNCTUATION: like the character before.
 */
%s

/*
 * For a letter of a word: what it adds after another letter, in 32nds of a
 * token.  Rows are the letter before.  Letters that often stand together share
 * tokens and cost little.
 */
static const uint8 pair_costs[26][26] = {
	/* clang-format off */
%s
	/* clang-format on */
};

/*
 * For characters of three bytes in UTF-8, U+0800 to U+FFFF: the most tokens that
 * one of a block of 64 takes.
 */
static const char block_costs[] =
%s;

/* Chinese characters that are one token, sorted: half of a usual text. */
static const uint16 common_han[] = {
	/* clang-format off */
%s
	/* clang-format on */
};

#endif /* LLM_ROUTER_TOKEN_COSTS_H */"""


def rows(items, size):
    return [items[start:start + size] for start in range(0, len(items), size)]


def print_header(cost, vocabularies):
    names = ("word elsewhere", "upper after lower", "long word", "repeated punctuation", "Latin",
             "Greek", "Cyrillic")
    print(HEADER % (
        "\n".join(f"#define COST_{name.upper().replace(' ', '_')} {cost[name]}" for name in names),
        "\n".join("\t/* %s */ {%s}," % (a, ",".join(str(cost[a + b]) for b in LETTERS)) for a in LETTERS),
        "\n".join('\t"%s"' % "".join(map(str, row)) for row in rows(vocabularies.blocks, 96)),
        "\n".join("\t" + " ".join("0x%04x," % code for code in row) for row in rows(vocabularies.common_han, 12))))


def main():
    os.environ["TIKTOKEN_CACHE_DIR"] = sys.argv[1]
    vocabularies = Vocabularies()
    natural = []
    for name in sys.argv[2:]:
        with open(name, encoding="utf-8", errors="ignore") as file:
            natural += counts.pieces(file.read(), 15, PIECE)
    RANDOM.shuffle(natural)
    natural = natural[:4500]
    texts = [(1.06, 1.0, text) for text in natural if text]
    texts += [(1.02, 0.15, text) for text in random_strings(natural)]
    texts += [(0.85, 0.15, text) for text in pseudo_words(natural)]
    print_header(solve(texts, vocabularies), vocabularies)


if __name__ == "__main__":
    main()
