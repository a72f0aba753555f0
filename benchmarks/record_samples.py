"""Records as services write them, made up: events of seven kinds in JSON, some 300 bytes each.

Which words, names, paths and messages there are is fixed; what varies are identifiers, numbers, who
does what, and how messages are put together. The same number is the same record on every machine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

_FIRST = (
    "amelia", "noah", "olivia", "liam", "emma", "oliver", "ava", "elijah", "sophia", "lucas",
    "mia", "mateo", "isabella", "levi", "camila", "daniel", "aria", "leo", "luna", "ezra",
    "gianna", "hudson", "eleanor", "theodore", "hazel", "wyatt", "nora", "asher", "zoe", "silas",
)  # fmt: skip
_LAST = (
    "smith", "garcia", "johnson", "nguyen", "williams", "martinez", "brown", "kim", "jones",
    "rossi", "muller", "lopez", "tanaka", "silva", "kowalski", "hansen", "dubois", "novak",
    "ivanova", "cohen", "patel", "okafor", "haddad", "costa", "larsen", "wagner",
)  # fmt: skip
_CITIES = (
    "Berlin", "Lagos", "São Paulo", "Toronto", "Osaka", "Kraków", "Lisbon", "Austin", "Nairobi",
    "Mumbai", "Lyon", "Seoul", "Denver", "Oslo", "Valparaíso", "Leeds",
)  # fmt: skip
_PRODUCTS = (
    "wireless mouse", "standing desk", "espresso grinder", "trail running shoes",
    "noise cancelling headphones", "cast iron pan", "linen shirt", "usb-c hub", "yoga mat",
    "desk lamp", "mechanical keyboard", "water bottle 750ml", "travel backpack 35L", "phone stand",
    "merino socks (3 pack)", "ceramic mug", "portable ssd 1TB", "reading glasses",
)  # fmt: skip
_SERVICES = (
    "checkout", "inventory", "gateway", "billing", "search", "mailer", "sessions", "recommender",
    "media",
)  # fmt: skip
_STATUSES = (200, 201, 204, 301, 400, 404, 429, 500)
_EVENTS = ("login", "logout", "password_reset", "login_failed")
_REGIONS = ["eu-west-1", "us-east-2", "ap-northeast-1", "sa-east-1"]
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Mobile Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "okhttp/4.12.0",
    "python-requests/2.32.3",
)
_PRAISE = (
    "Arrived two days early and works exactly as described",
    "The colour is nicer than in the pictures",
    "Good value, though the packaging was damaged",
    "Stopped working after a week, support sent a replacement at once",
    "Fits well, I would order a size up for winter",
    "My second one, bought it as a gift for my sister",
    "Not what I expected from the description",
    "Sturdy, quiet and easy to clean",
)
_MORE = (
    "will buy again", "would not recommend", "the manual could be clearer", "shipping was slow",
    "my kids love it", "five stars for the service", "returning it tomorrow",
    "no complaints so far",
)  # fmt: skip
_CAUSES = (
    "connection reset by peer", "context deadline exceeded", "duplicate key value violates unique "
    "constraint \"{table}_pkey\"", "too many open files", "certificate has expired",
    "no space left on device", "permission denied for relation {table}", "i/o timeout",
)  # fmt: skip
_TABLES = ["orders", "users", "payments", "carts", "shipments", "events", "sessions"]


def _hex(draw: random.Random, digits: int) -> str:
    return f"{draw.getrandbits(4 * digits):0{digits}x}"


def _person(draw: random.Random) -> tuple[str, str]:
    return draw.choice(_FIRST), draw.choice(_LAST)


def _request(draw: random.Random) -> dict[str, Any]:
    path = draw.choice(
        (
            "/v1/orders",
            f"/v1/orders/{draw.randrange(10**6)}",
            f"/v2/users/{_hex(draw, 8)}",
            "/health",
            f"/v1/search?q={draw.choice(_PRODUCTS).split()[0]}&page={draw.randrange(9)}",
            f"/v1/carts/{_hex(draw, 8)}/items",
            "/v1/login",
            f"/static/{_hex(draw, 8)}.css",
        )
    )
    return {
        "service": "gateway",
        "method": draw.choices(("GET", "POST", "PUT", "DELETE"), (12, 5, 2, 1))[0],
        "path": path,
        "status": draw.choices(_STATUSES, (60, 9, 4, 3, 5, 9, 3, 2))[0],
        "duration_ms": round(draw.lognormvariate(3, 1), 1),
        "bytes": int(draw.lognormvariate(7, 1.2)),
        "client": ".".join(str(draw.randrange(1, 255)) for _ in range(4)),
        "agent": draw.choice(_AGENTS),
    }


def _order(draw: random.Random) -> dict[str, Any]:
    first, last = _person(draw)
    items: list[dict[str, Any]] = [
        {"product": draw.choice(_PRODUCTS), "quantity": draw.choice((1, 1, 1, 2, 3)),
         "price": round(draw.uniform(4, 400), 2)}
        for _ in range(draw.choice((1, 1, 2)))
    ]  # fmt: skip
    return {
        "service": "checkout",
        "order": draw.randrange(10**6, 10**7),
        "customer": {"name": f"{first.title()} {last.title()}", "city": draw.choice(_CITIES)},
        "items": items,
        "total": round(sum(item["price"] * item["quantity"] for item in items), 2),
        "currency": draw.choice(("EUR", "USD", "GBP", "JPY")),
        "express": draw.random() < 0.2,
    }


def _error(draw: random.Random) -> dict[str, Any]:
    table, service = draw.choice(_TABLES), draw.choice(_SERVICES)
    cause = draw.choice(_CAUSES).format(table=table)
    step = draw.choice(("load", "update", "delete", "lock", "publish"))
    return {
        "service": service,
        "error": f"failed to {step} {table[:-1]} {draw.randrange(10**5)}: {cause}",
        "retry": draw.randrange(4),
        "stack": [
            f"{service}/{draw.choice(_TABLES)}.go:{draw.randrange(20, 900)}",
            f"{service}/handler.go:{draw.randrange(20, 300)}",
            f"internal/db/{draw.choice(('pool', 'conn', 'tx'))}.go:{draw.randrange(20, 400)}",
        ],
        "trace": _hex(draw, 16),
    }


def _review(draw: random.Random) -> dict[str, Any]:
    text = draw.choice(_PRAISE) + "; " + draw.choice(_MORE)
    return {
        "service": "recommender",
        "user": ".".join(_person(draw)) + str(draw.randrange(100)),
        "product": draw.choice(_PRODUCTS),
        "stars": draw.choices((1, 2, 3, 4, 5), (1, 1, 2, 4, 7))[0],
        "review": text + draw.choice((".", "!", "")),
        "helpful": int(draw.expovariate(0.2)),
        "verified": draw.random() < 0.8,
    }


def _login(draw: random.Random) -> dict[str, Any]:
    first, last = _person(draw)
    return {
        "service": "sessions",
        "event": draw.choices(_EVENTS, (6, 3, 1, 2))[0],
        "user": {
            "id": draw.randrange(10**5, 10**6),
            "email": f"{first}.{last}@example.{draw.choice(('com', 'org', 'net'))}",
        },
        "session": _hex(draw, 16),
        "agent": draw.choice(_AGENTS),
        "location": draw.choice(_CITIES),
        "mfa": draw.choice(("totp", "sms", "none")),
    }


def _stock(draw: random.Random) -> dict[str, Any]:
    return {
        "service": "inventory",
        "warehouse": f"{draw.choice(_CITIES)[:3].upper()}-{draw.randrange(1, 9)}",
        "sku": f"{draw.choice('ABCDEFGH')}{draw.randrange(1000, 9999)}-{draw.choice('SMLX')}",
        "product": draw.choice(_PRODUCTS),
        "before": (before := draw.randrange(5, 500)),
        "after": before - draw.randrange(1, 6),
        "reason": draw.choice(("sale", "sale", "damaged in transit", "stocktaking", "return")),
        "supplier": {
            "name": f"{draw.choice(_LAST).title()} & {draw.choice(_LAST).title()}",
            "lead_days": draw.randrange(2, 30),
        },
    }


def _job(draw: random.Random) -> dict[str, Any]:
    name = draw.choice(("send_newsletter", "rebuild_index", "resize_images", "settle_payments"))
    done, failed = draw.randrange(10, 50_000), draw.choice((0, 0, 0, draw.randrange(40)))
    return {
        "service": draw.choice(("mailer", "search", "media", "billing")),
        "job": name,
        "attempt": draw.choice((1, 1, 1, 2)),
        "message": f"{name} finished: {done} processed, {failed} failed "
        f"in {draw.randrange(2, 900)} s",
        "queue": {"waiting": draw.randrange(300), "workers": draw.choice((2, 4, 8, 16))},
        "memory_mb": round(draw.uniform(80, 900), 1),
        "version": f"{draw.randrange(2, 4)}.{draw.randrange(30)}.{draw.randrange(10)}",
    }


_KINDS: tuple[tuple[Callable[[random.Random], dict[str, Any]], int], ...] = (
    (_request, 8), (_order, 4), (_error, 2), (_review, 3), (_login, 4), (_stock, 3), (_job, 2),
)  # fmt: skip


def record(seed: int, number: int) -> bytes:
    """The record of a number, without a line's end."""
    draw = random.Random(f"{seed}/{number}")
    make = draw.choices([kind for kind, _ in _KINDS], [weight for _, weight in _KINDS])[0]
    seconds = number * 2 + draw.randrange(2)
    day, seconds = divmod(seconds, 86_400)
    entry = {
        "time": f"2026-06-{1 + day % 30:02}T{seconds // 3600:02}:{seconds // 60 % 60:02}:"
        f"{seconds % 60:02}.{draw.randrange(1000):03}Z",
        "level": draw.choices(("info", "warn", "debug"), (8, 1, 1))[0],
        **make(draw),
        "host": f"{draw.choice(('web', 'app', 'job'))}-{draw.randrange(40):02}",
        "region": draw.choice(_REGIONS),
    }
    if "error" in entry:
        entry["level"] = "error"
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()


def records(seed: int, first: int, count: int) -> list[bytes]:
    """Consecutive records."""
    return [record(seed, number) for number in range(first, first + count)]
