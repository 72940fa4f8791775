"""The other side of test/t/260_fernet.pl: Fernet by Python's cryptography.

    fernet_peer.py encrypt KEY TEXT
    fernet_peer.py decrypt KEY TOKEN
    fernet_peer.py generate KEY UNIX_TIME IV_HEX TEXT    with the given time and IV
    fernet_peer.py again KEY TOKEN                       decrypt, then generate with the token's own time and IV

Prints the result. generate follows the specification step by step, because cryptography's API chooses time and IV itself.
"""

import base64
import sys

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, hmac, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def generate(key: str, time: int, iv: bytes, text: bytes) -> str:
    secret = base64.urlsafe_b64decode(key)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(secret[16:]), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(padder.update(text) + padder.finalize()) + encryptor.finalize()
    signed = b"\x80" + time.to_bytes(8, "big") + iv + ciphertext
    mac = hmac.HMAC(secret[:16], hashes.SHA256())
    mac.update(signed)
    return base64.urlsafe_b64encode(signed + mac.finalize()).decode()


def main(command: str, key: str, *arguments: str) -> str:
    if command == "encrypt":
        return Fernet(key).encrypt(arguments[0].encode()).decode()
    if command == "decrypt":
        return Fernet(key).decrypt(arguments[0].encode()).decode()
    if command == "generate":
        time, iv, text = arguments
        return generate(key, int(time), bytes.fromhex(iv), text.encode())
    if command == "again":
        token = base64.urlsafe_b64decode(arguments[0])
        text = Fernet(key).decrypt(arguments[0].encode())
        return generate(key, int.from_bytes(token[1:9], "big"), token[9:25], text)
    raise SystemExit(f"unknown command {command}")


print(main(*sys.argv[1:]))
