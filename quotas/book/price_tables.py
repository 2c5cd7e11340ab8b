"""Price tables of the schema: see `quotas.book.schema`."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class PriceRow(SQLModel, table=True):
    """A version of a flavor's rate (see quotas.metering.prices.Version): append-only.

    `deed`, `body` and `answer` belong to the command that accepted it.
    """

    __tablename__ = "price"
    id: int | None = Field(default=None, primary_key=True)
    flavor: str
    from_s: int = Field(sa_type=BigInteger)
    rate_ucr_per_h: int = Field(sa_type=BigInteger)
    recorded_s: int = Field(sa_type=BigInteger)
    bearer: str
    source: str
    reason: str = ""
    operator_action: str | None = Field(default=None, unique=True)
    body: str = ""
    answer: str = ""


class ListingRow(SQLModel, table=True):
    """A believable price that the catalogue listed, from when it was first seen: append-only."""

    __tablename__ = "listing"
    flavor: str = Field(primary_key=True)
    listed_s: int = Field(sa_type=BigInteger, primary_key=True)
    rate_ucr_per_h: int = Field(sa_type=BigInteger)


class OfferRow(SQLModel, table=True):
    """What a zone sells, as last listed, believable price or not."""

    __tablename__ = "offer"
    flavor: str = Field(primary_key=True)
    gpus: int
    scratch_bytes: int = Field(sa_type=BigInteger)


PRICE = SQLModel.metadata.tables["price"]
OFFER = SQLModel.metadata.tables["offer"]
LISTING = SQLModel.metadata.tables["listing"]
