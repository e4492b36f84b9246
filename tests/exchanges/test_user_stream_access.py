import base64
import copy
import json
import pickle
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.hashes import SHA256

from app.errors import BadCredentials
from app.exchanges.user_stream_access import Signer, UserStreamAccess
from tests.recorded import shared_file

SECRET = "secret-that-nobody-may-see"


def test_signature_is_the_documentations_own() -> None:
    document = json.loads(shared_file("binance-docs/signature-vectors.json").read_text())
    vectors = [vector for vector in document["vectors"] if vector["doc"] == "web-socket-api.md"]
    assert len(vectors) == 2
    for vector in vectors:
        parameters: dict[str, str | int] = dict(parse_qsl(vector["payload"]))
        api_key = str(parameters.pop("apiKey"))
        signed = Signer(api_key, document["secret_key"]).signed(parameters)
        assert signed == {**parameters, "apiKey": api_key, "signature": vector["signature"]}


def pem(key: Ed25519PrivateKey | RSAPrivateKey | EllipticCurvePrivateKey) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def test_private_keys_sign_what_their_public_keys_prove() -> None:
    payload = b"apiKey=key&timestamp=1"
    ed25519, rsa = Ed25519PrivateKey.generate(), generate_rsa_key(65537, 2048)
    signatures = [str(Signer("key", pem(key)).signed({"timestamp": 1})["signature"]) for key in (ed25519, rsa)]
    ed25519.public_key().verify(base64.b64decode(signatures[0]), payload)
    rsa.public_key().verify(base64.b64decode(signatures[1]), payload, PKCS1v15(), SHA256())


@pytest.mark.parametrize("secret", ["-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----", None])
def test_private_key_that_the_venue_takes_not_is_a_matter_of_credentials(secret: str | None) -> None:
    with pytest.raises(BadCredentials, match="private key"):
        Signer("key", secret or pem(generate_private_key(SECP256R1()))).signed({"timestamp": 1})


def test_signer_shows_its_secret_to_nobody() -> None:
    signer = Signer("api-key-of-somebody", SECRET)
    access = UserStreamAccess(url="wss://venue", signer=signer, has_rate_limit=True)
    for text in (repr(signer), str(signer), repr(access), repr([signer]), f"{signer!s}"):
        assert SECRET not in text
        assert "api-key-of-somebody" not in text
    assert not hasattr(signer, "__dict__")
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leave(signer)
