"""Answer requests with models: what a request may ask, and what comes of it.

pytest tests/unit/test_serving.py
"""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i_core.config.serving import LimitOptions, ServeOptions
from i2i_core.errors import ConfigError
from i2i_core.fields import Field
from i2i_core.images.codec import Picture
from i2i_core.serving.admission import Admission
from i2i_core.serving.images import ids_of
from i2i_core.serving.naming import names_of
from i2i_core.serving.refusing import Refused
from i2i_core.serving.served import Answer, Ask, Served
from i2i_core.serving.token import token_of
from i2i_core.translation.model import load

from ..support.serving import ask, asks, image_of, png, served, server_of
from ..support.translating import untrained

TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def letters(stargan: str) -> Served:
    return served(stargan, "letters")


@pytest.fixture(scope="module")
def outlines(pix2pix: str) -> Served:
    return served(pix2pix, "outlines")


def made(model: Served, **asked: Any) -> Answer:
    (found,) = model.answer([Ask(**asked)])
    assert isinstance(found, Answer), found
    return found


def refused(model: Served, **asked: Any) -> Refused:
    (found,) = model.answer([Ask(**asked)])
    assert isinstance(found, Refused), found
    return found


# ---- a model ----


def test_served_makes_what_the_model_makes(stargan: str, letters: Served) -> None:
    data, label = png(16, 16), letters.method.label_sets[0].titles[1]
    expected = load(stargan).translate(Image.fromarray(image_of(data)), target=label)
    found = made(letters, image=data, fields={"target": label})
    assert found.media == "image/png"
    assert np.array_equal(image_of(found.data), np.asarray(expected))
    other = made(letters, image=data, fields={"target": letters.method.label_sets[0].titles[2]})
    assert other.data != found.data


def test_served_makes_those_of_one_kind_in_one_batch(outlines: Served) -> None:
    """Another size and a refusal among them: each has its own answer, in its place."""
    asked = [Ask(image=png(16, 16, 3, seed=n)) for n in range(3)]
    other, wrong = Ask(image=png(32, 16, 3)), Ask(image=b"no image")
    found = outlines.answer([asked[0], wrong, asked[1], other, asked[2]])
    assert [one.together for one in found if isinstance(one, Answer)] == [3, 3, 1, 3]
    assert isinstance(found[1], Refused)
    for one, alone in zip([found[0], found[2], found[4]], asked, strict=True):
        assert isinstance(one, Answer)
        by_itself = image_of(made(outlines, image=alone.image).data).astype(int)
        assert np.abs(image_of(one.data) - by_itself).max() <= 1


def test_served_sample_decides_the_code(bicyclegan: str) -> None:
    model, data = served(bicyclegan), png(16, 16, 3)
    zero, again, one = (made(model, image=data, fields={"sample": n}).data for n in ("0", "0", "1"))
    assert zero == again
    assert zero != one
    z = model.method.draw_codes(["1"])[0].tolist()
    given = made(model, image=data, fields={"code": ",".join(map(str, z))})
    assert np.abs(image_of(given.data).astype(int) - image_of(one).astype(int)).max() <= 1
    like = made(model, image=data, like=(png(16, 16, 3, seed=7),))
    assert like.data not in (zero, one)


def test_served_translates_back(cyclegan: str) -> None:
    model, data = served(cyclegan), png(16, 16)
    there, back = (made(model, image=data, fields={"direction": way}).data for way in ("AtoB", "BtoA"))
    assert there != back
    assert model.about()["inputs"].keys() == {"AtoB", "BtoA"}


def test_served_converts_sizes_and_colours(letters: Served) -> None:
    label = letters.method.label_sets[0].titles[0]
    fields = {"target": label, "longer_side": "16"}
    assert image_of(made(letters, image=png(40, 20, 3), fields=fields).data).shape == (16, 8)
    for kind in ("JPEG", "WEBP", "GIF", "BMP"):
        assert image_of(made(letters, image=png(17, 19, kind=kind), fields={"target": label}).data).shape == (17, 19)
    deep = made(letters, image=png(16, 16, dtype="uint16"), fields={"target": label})
    assert image_of(deep.data).dtype == np.uint16


def said_to_be(width: int, height: int) -> bytes:
    """A small PNG whose header says that it is large."""
    data = bytearray(png(4, 4))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


REFUSALS = {
    "nothing": ({}, 422, "image", "nothing"),
    "text": ({"image": b"hello"}, 415, "image", "cannot identify"),
    "svg": ({"image": b"<svg onload=alert(1)>"}, 415, "image", "SVG"),
    "tiff": ({"image": png(8, 8, kind="TIFF")}, 415, "image", "TIFF"),
    "cut": ({"image": png(64, 64)[:300]}, 422, "image", "cannot be read"),
    "large": ({"image": png(1025, 1025)}, 413, "image", "1025 x 1025"),
    "bomb": ({"image": said_to_be(9000, 9000)}, 413, "image", "9000 x 9000"),
    "beyond": ({"image": said_to_be(1 << 20, 1 << 20)}, 422, "image", "limit"),
    "unknown": ({"image": png(16, 16), "fields": {"trget": "x"}}, 422, "trget", "a field of that name"),
    "label": ({"image": png(16, 16), "fields": {"target": "nobody"}}, 422, "target", "nobody"),
    "signs": ({"image": png(16, 16), "fields": {"target": "+bold"}}, 422, "target", "+bold"),
    "none": ({"image": png(16, 16)}, 422, "target", "nothing"),
    "side": ({"image": png(16, 16), "fields": {"target": "bold", "longer_side": "4000"}}, 413, "longer_side", "4000"),
    "half": ({"image": png(16, 16), "fields": {"target": "bold", "longer_side": "1.5"}}, 422, "longer_side", "1.5"),
    "like": ({"image": png(16, 16), "fields": {"target": "bold"}, "like": (b"x",)}, 422, "like", "1 image"),
}


@pytest.mark.parametrize("asked", REFUSALS)
def test_served_refuses_by_the_field_that_is_wrong(asked: str, letters: Served) -> None:
    how, status, field, found = REFUSALS[asked]
    answer = refused(letters, **how)
    assert (answer.status, answer.field) == (status, field), answer
    assert found in answer.found
    assert "--" not in answer.fix


@pytest.mark.parametrize("field", ["code", "sample"])
@pytest.mark.parametrize("value", ["nan", "1e99", "", "-1", "0x10", "1,2", "٣"])
def test_served_refuses_numbers_that_are_none(field: str, value: str, bicyclegan: str) -> None:
    answer = served(bicyclegan).answer([Ask(image=png(16, 16, 3), fields={field: value})])[0]
    assert (isinstance(answer, Answer) and not value) or (isinstance(answer, Refused) and answer.field == field)


def test_served_leaves_out_what_is_late(letters: Served) -> None:
    first, second = letters.answer([Ask(image=png(16, 16), fields={"target": "bold"}, seconds=1)] * 2, [0.0, 1e12])
    assert isinstance(first, Refused)
    assert first.status == 504
    assert isinstance(second, Answer)


def test_served_fault_touches_one_answer_and_shows_nothing(
    letters: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret: /home/somebody")

    monkeypatch.setattr(letters.method, "translate", fail)
    answer = refused(letters, image=png(16, 16), fields={"target": "bold"})
    assert answer.status == 500
    assert "somebody" not in json.dumps(answer.as_json())
    assert "secret: /home/somebody" in caplog.text


def test_served_generates_with_a_method_that_takes_no_image(labelled: str, tmp_path: Path) -> None:
    model = served(untrained("dcgan", labelled, tmp_path))
    zero, again, one = (made(model, fields={"sample": n}).data for n in ("0", "0", "1"))
    assert zero == again
    assert zero != one
    assert model.about()["inputs"] == {"AtoB": None}
    assert refused(model, image=png(16, 16)).field == "image"
    assert ask(server_of(model), "POST", "/models/model/generate", data={"sample": "1"}).content == one


MAP = Field("png", 1, "uint8", 0, 0, role="classes", classes=2, palette=((255, 0, 0), (0, 0, 255)), ignore=9)


def test_label_map_is_read_by_ids_or_by_colours() -> None:
    ids = np.array([[0, 1], [1, 9]], np.uint8)
    assert ids_of(Picture(ids[..., None]), "image", MAP)[..., 0].tolist() == ids.tolist()
    colours = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    assert ids_of(Picture(colours), "image", MAP)[..., 0].tolist() == [[0, 1]]
    with pytest.raises(Refused, match="the id 2"):
        ids_of(Picture(ids[..., None] + 1), "image", MAP)
    with pytest.raises(Refused, match="#ff0001"):
        ids_of(Picture(colours + np.array([0, 0, 1], np.uint8)), "image", MAP)


# ---- names, admission, tokens ----


def test_names_are_those_of_folders_and_unique() -> None:
    places = ["/data/runs/a", "s3://bucket/runs/a/", "runs/b/checkpoints/0000036", "x/<script>", "x/\u202ea\n"]
    assert names_of(places) == ["a", "a-2", "b", "<script>", "\\u202ea\\n"]


def test_admission_bounds_requests_and_bytes() -> None:
    admission = Admission(2, 100)
    with admission.enter() as first, admission.enter() as second:
        first.hold(60)
        with pytest.raises(Refused, match="429"):
            second.hold(41)
        second.hold(40)
        with pytest.raises(Refused, match="429"), admission.enter():
            pass
        assert (admission.waiting, admission.held) == (2, 100)
    assert (admission.waiting, admission.held) == (0, 0)


def test_token_is_needed_beyond_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("I2I_SERVE_TOKEN", raising=False)
    assert token_of(ServeOptions()) == ("", False)
    token, is_new = token_of(ServeOptions(host="0.0.0.0"))
    assert is_new
    assert len(token) >= 32
    assert token_of(ServeOptions(host="0.0.0.0"))[0] != token
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        token_of(ServeOptions(token_file=str(file)))
    file.chmod(0o600)
    assert token_of(ServeOptions(token_file=str(file))) == (TOKEN, False)
    monkeypatch.setenv("I2I_SERVE_TOKEN", "short")
    with pytest.raises(ConfigError, match="5 characters") as error:
        token_of(ServeOptions())
    assert "short" not in str(error.value)


@pytest.mark.parametrize("host", ["example.org", "", "0.0.0.0:80"])
def test_options_refuse_hosts_that_are_no_addresses(host: str) -> None:
    with pytest.raises(ConfigError, match="--host"):
        ServeOptions(host=host)


# ---- HTTP ----


def form(data: bytes, **fields: str) -> dict[str, Any]:
    return {"files": {"image": ("x.png", data)}, "data": fields}


def test_app_answers_forms_and_plain_images(letters: Served) -> None:
    server, data = server_of(letters), png(16, 16)
    by_form = ask(server, "POST", "/models/letters/translate", **form(data, target="bold"))
    assert by_form.status_code == 200, by_form.text
    assert by_form.headers["content-type"] == "image/png"
    headers = {"content-type": "image/png"}
    plain = ask(server, "POST", "/models/letters/translate?target=bold", content=data, headers=headers)
    assert plain.content == by_form.content == made(letters, image=data, fields={"target": "bold"}).data


BODY = b'--x\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n'
MALFORMED: dict[str, tuple[dict[str, Any], int, str]] = {
    "text": ({"content": b"{}", "headers": {"content-type": "application/json"}}, 415, "Content-Type"),
    "no type": ({"content": b"abc"}, 415, "Content-Type"),
    "no boundary": ({"content": BODY, "headers": {"content-type": "multipart/form-data"}}, 400, "body"),
    "no form": ({"content": b"abc", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "body"),
    "no length": ({"content": b"abc", "headers": {"content-type": "image/png", "content-length": "-1"}}, 400, "Conte"),
    "too long": ({"content": b"0" * ((1 << 20) + 1), "headers": {"content-type": "image/png"}}, 413, "body"),
    "twice": ({"data": {"target": ["bold", "serif"]}, "files": {"image": png(4, 4)}}, 422, "target"),
    "other file": ({"files": {"picture": png(4, 4)}}, 422, "picture"),
    "many files": ({"files": [("like", b"x")] * 20}, 400, "body"),
    "long field": ({"files": {"image": b"x"}, "data": {"target": "x" * 70_000}}, 400, "body"),
    "nothing": ({}, 422, "image"),
}


@pytest.mark.parametrize("request_of", MALFORMED)
def test_app_refuses_what_is_no_request(request_of: str, letters: Served) -> None:
    how, status, field = MALFORMED[request_of]
    server = server_of(letters, limits=LimitOptions(most_mib=1))
    answer = ask(server, "POST", "/models/letters/translate", **how)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["field"].startswith(field)
    assert {*error} == {"field", "found", "expected", "fix"}
    assert (server.admission.waiting, server.admission.held) == (0, 0)


def test_app_stops_reading_a_body_without_a_length(letters: Served) -> None:
    """A body of unknown length, which never ends by itself: no more is read than the limit, and some."""
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 1 << 16
            yield b"0" * (1 << 16)

    scope = {
        **{"type": "http", "method": "POST", "path": "/models/letters/translate", "raw_path": b"", "root_path": ""},
        **{"query_string": b"", "scheme": "http", "server": ("localhost", 80), "client": ("127.0.0.1", 1)},
        **{"http_version": "1.1", "headers": [(b"host", b"localhost"), (b"content-type", b"image/png")]},
    }
    parts, messages = endless(), list[Any]()

    async def receive() -> Any:
        return {"type": "http.request", "body": await anext(parts), "more_body": True}

    async def send(message: Any) -> None:
        messages.append(message)

    asyncio.run(server_of(letters, limits=LimitOptions(most_mib=1)).app()(scope, receive, send))
    assert messages[0]["status"] == 413
    assert sent < 2 << 20


def test_app_answers_429_beyond_what_may_wait(letters: Served) -> None:
    class Slow:
        def __init__(self) -> None:
            self.gate = asyncio.Event()
            self.came = 0

        async def ask(self, number: int, ask: Ask) -> Answer:
            self.came += 1
            if self.came == 2:
                self.gate.set()
            await self.gate.wait()
            return Answer(b"", "image/png", 1, 0.0)

        async def missing(self) -> list[int]:
            return []

    server = server_of(letters, limits=LimitOptions(most_waiting=2), backend=Slow())
    one = ("POST", "/models/letters/translate", form(png(4, 4), target="bold"))
    answers = asks(server, [one] * 6)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429, 429]
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 429)


def test_app_answers_504_when_no_image_comes(letters: Served) -> None:
    class Never:
        async def ask(self, number: int, ask: Ask) -> Answer:
            await asyncio.Event().wait()
            raise AssertionError

        async def missing(self) -> list[int]:
            return [0]

    server = server_of(letters, limits=LimitOptions(most_seconds=0.2), backend=Never())
    assert ask(server, "POST", "/models/letters/translate", **form(png(4, 4), target="bold")).status_code == 504
    assert ask(server, "GET", "/health").status_code == 503


def test_app_asks_for_the_token(letters: Served) -> None:
    server = server_of(letters, token=TOKEN)
    for path in ("/", "/docs", "/page.js", "/page.css", "/health"):
        assert ask(server, "GET", path).status_code == 200
    for path in ("/models", "/metrics", "/openapi.json", "/nothing"):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
            answer = ask(server, "GET", path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
    assert ask(server, "GET", "/models", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert ask(server, "POST", "/models/letters/translate", **form(png(4, 4), target="bold")).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"host": ""}, {"origin": "http://evil.example"}, {"origin": "null"}],
    ids=str,
)
def test_app_refuses_pages_of_other_sites(headers: dict[str, str], letters: Served) -> None:
    """Also one whose name leads to 127.0.0.1 (DNS rebinding): nothing but the name tells it apart."""
    server = server_of(letters)
    assert ask(server, "GET", "/models", headers=headers).status_code == 403
    assert ask(server, "GET", "/models", headers={"host": "127.0.0.1:9", "origin": "http://127.0.0.1:9"}).is_success


def test_app_answers_hold_no_place_of_the_server(stargan: str) -> None:
    server = server_of(served(stargan, "letters"))
    paths = ["/", "/models", "/openapi.json", "/metrics", "/health", "/nothing", "/../../etc/passwd", "/models/x"]
    answers = [ask(server, "GET", path) for path in paths]
    answers += [ask(server, "POST", "/models/letters/translate", **how) for how, _, _ in MALFORMED.values()]
    for answer in answers:
        text = answer.text + str(answer.headers)
        assert not [part for part in (stargan, "/tmp/", "site-packages", "Traceback", str(Path.home())) if part in text]
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_app_counts_answers_without_strangers_names(letters: Served) -> None:
    server = server_of(letters)
    ask(server, "POST", "/models/letters/translate", **form(png(4, 4), target="bold"))
    ask(server, "POST", "/models/letters/translate", **form(b"x", target="bold"))
    ask(server, "POST", "/models/stranger/translate", **form(png(4, 4)))
    text = ask(server, "GET", "/metrics").text
    assert 'i2i_answers_total{model="letters",status="200"} 1.0' in text
    assert 'i2i_answers_total{model="letters",status="415"} 1.0' in text
    assert 'i2i_answers_total{model="",status="404"} 1.0' in text
    assert 'i2i_batch_images_count{model="letters"} 1.0' in text
    assert "stranger" not in text


def test_app_describes_each_models_fields(letters: Served, bicyclegan: str) -> None:
    server = server_of(letters, served(bicyclegan, "a b <script>"))
    found = ask(server, "GET", "/openapi.json").json()
    assert {"/models/letters/translate", "/models/a%20b%20%3Cscript%3E/translate"} <= found["paths"].keys()
    content = found["paths"]["/models/letters/translate"]["post"]["requestBody"]["content"]
    assert {"image", "target", "longer_side"} == {*content["multipart/form-data"]["schema"]["properties"]}
    models = ask(server, "GET", "/models").json()["models"]
    assert ask(server, "POST", models[1]["url"], **form(png(16, 16, 3), sample="3")).status_code == 200
    assert ask(server, "POST", "/models/nobody/translate").json()["error"]["field"] == "model"
    assert ask(server, "POST", "/models/letters/generate").status_code == 404
    assert ask(server, "GET", "/models/letters/translate").status_code == 405
