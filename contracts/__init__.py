"""The language of Tenure: what crosses a service boundary, as frozen values.

Imports pydantic, msgspec and the standard library only (`identities` also what reads addresses and telephone numbers),
and nothing else of Tenure. Read in this order: `ids` and `values` (words that everything uses), `envelope` (CloudEvents
on Kafka), `events/` (what sources report), `interactions` (what the reports add up to), `activity`, `accounts`, `kpis`,
`alerts` (what the services tell one another), `topics`; then `standins` (how a record is read where time counts).
"""
