"""Invoices and payments."""

from datetime import date
from typing import ClassVar

from contracts.events.base import Event
from contracts.values import Kind, Money


class InvoiceReport(Event):
    """What a report may state about an invoice."""

    KIND: ClassVar[Kind] = Kind.INVOICE

    owed: Money | None = None
    due_on: date | None = None


class InvoiceOverdue(InvoiceReport):
    """An invoice passed its due date unpaid."""

    TYPE: ClassVar[str] = "tenure.invoice.overdue.v1"
    ENTRY: ClassVar[str] = "overdue"


class InvoicePaid(InvoiceReport):
    """An invoice was paid."""

    TYPE: ClassVar[str] = "tenure.invoice.paid.v1"
    ENTRY: ClassVar[str] = "paid"


class PaymentFailed(InvoiceReport):
    """A payment was tried and failed."""

    TYPE: ClassVar[str] = "tenure.invoice.payment-failed.v1"
    ENTRY: ClassVar[str] = "payment_failed"
