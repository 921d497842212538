"""What people write about. Subjects and texts for mails and tickets, by the class that a touch has."""

from __future__ import annotations

from samples.facts import TouchClass

PRODUCTS = {
    "Laser micrometer LM-40": 4800,
    "Surface gauge SG-12": 1950,
    "Pressure transmitter PT-7": 620,
    "Flow meter FM-300": 2750,
    "Calibration set CS-2": 890,
    "Probe holder PH-5": 145,
    "Data logger DL-16": 1280,
    "Torque sensor TQ-90": 2140,
}
"""Product and list price in EUR."""

ASKS = (
    (
        "Delivery window for the next batch",
        "could you tell me in which week the next batch leaves your house? We plan the line around it.",
    ),
    ("Visit to your plant", "two colleagues would like to see the assembly. Would the week after next suit you?"),
    (
        "Drawings for the mounting plate",
        "we need the drawings of the mounting plate in the new format. Can you send them?",
    ),
    (
        "Quantities for the next half year",
        "our quantities go up a little. I attach the plan; do the prices of last year still hold?",
    ),
    (
        "New line in hall 4",
        "we set up a new line in hall 4 and think about four measuring points. What would you choose?",
    ),
    ("Dates for the trade fair", "are you at the fair this year? We would like to meet your people there."),
)
"""Subject and text of mails in which a customer wants to know something."""

ANSWERS = (
    "thank you for your mail. I have put what you need together below and will ring you on Thursday.",
    "good that you write. Yes, that works; the details follow in the table.",
    "I talked to our planning this morning: it can be done as you propose.",
)
FOLLOW_UPS = (
    "that helps a lot. One more thing: does the same hold for the smaller size?",
    "good. Can you put the same in writing for our purchasing people?",
)
NEWS = (
    (
        "What is new in the LM series",
        "from March the LM series measures twice as fast. I thought of your line in hall 2 at once.",
    ),
    (
        "Our plan for your spring order",
        "here is what I have reserved for you in spring. Have a look when you find the time.",
    ),
)
"""What a manager writes unasked."""

BILLING = (
    (
        "Invoice {number} for your last order",
        "please find the invoice {number} attached. It is payable within 30 days.",
    ),
)
STRATEGIC = (
    (
        "Best practice: fewer calibration stops",
        "as promised our best practice for fewer calibration stops, with the roadmap that we would take with you.",
    ),
)
TICKETS = (
    "Display stays dark after start",
    "Values drift after two hours",
    "Firmware update does not install",
    "Export to CSV has empty columns",
    "Sensor is not recognised",
    "Calibration certificate is missing",
)
MEETINGS = {
    "on_site": "Visit to the plant",
    "remote": "Call about the coming quarter",
    "business_review": "Quarterly business review",
}
UNASKED: dict[TouchClass, tuple[tuple[str, str], ...]] = {
    "routine": NEWS,
    "billing": BILLING,
    "strategic": STRATEGIC,
}


def letter(greeted: str, text: str, signed: str) -> str:
    """A short mail."""
    return f"Hello {greeted},\n\n{text}\n\nKind regards\n{signed}\n"
