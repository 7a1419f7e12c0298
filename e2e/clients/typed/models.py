"""A stdio MCP server whose tools return pydantic models: the SDK writes `$defs`, `$ref`, nested arrays and unions.

Every string is VISIBLE or SECRET: whether a grant in typed.rs shows it.
"""

from typing import Annotated, Literal

from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel, ConfigDict, Field

server = MCPServer("models")


class Price(BaseModel):
    amount: float
    currency: str


class Item(BaseModel):
    sku: str
    price: Price
    note: str | None


class Order(BaseModel):
    number: str
    items: list[Item]


class Contact(BaseModel):
    model_config = ConfigDict(extra="forbid")
    email: str
    phone: str


class Customer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str
    contact: Contact
    orders: list[Order]
    referred_by: "Customer | None" = None


class Folder(BaseModel):
    name: str
    owner: str
    inside: list["Folder"]


class Person(BaseModel):
    kind: Literal["person"]
    name: str
    born: str


class Company(BaseModel):
    kind: Literal["company"]
    name: str
    tax_number: str


class Party(BaseModel):
    party: Annotated[Person | Company, Field(discriminator="kind")]


class Row(BaseModel):
    label: str
    value: str


def a_customer(number, referred_by=None):
    items = [Item(sku="VISIBLE", price=Price(amount=1.5, currency="SECRET"), note=note) for note in ("SECRET", None)]
    orders = [Order(number="SECRET", items=items), Order(number="SECRET", items=[])]
    contact = Contact(email="SECRET", phone="SECRET")
    return Customer(id=f"VISIBLE {number}", contact=contact, orders=orders, referred_by=referred_by)


@server.tool()
def customer() -> Customer:
    return a_customer(1, referred_by=a_customer(2))


@server.tool()
def customers() -> list[Customer]:
    return [a_customer(1), a_customer(2)]


@server.tool()
def folder() -> Folder:
    leaf = Folder(name="VISIBLE", owner="SECRET", inside=[])
    return Folder(name="VISIBLE", owner="SECRET", inside=[leaf, leaf])


@server.tool()
def party() -> Party:
    return Party(party=Company(kind="company", name="VISIBLE", tax_number="SECRET"))


@server.tool()
def table() -> dict[str, Row]:
    return {"a": Row(label="VISIBLE", value="SECRET"), "b": Row(label="VISIBLE", value="SECRET")}


@server.tool()
def matrix() -> list[list[Row]]:
    row = Row(label="VISIBLE", value="SECRET")
    return [[row, row], [], [row]]


@server.tool()
def nothing() -> Contact:
    """The grant shows none of it."""
    return Contact(email="SECRET", phone="SECRET")


server.run("stdio")
