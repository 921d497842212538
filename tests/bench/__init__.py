"""The speed figures of Tenure: ratios within one run, taken alternately, with the end state checked every time.

Read in this order: `figures` (what is compared), `ground` (the servers), `apart` (each measurement in a process of its
own), `copying` (the measure of everything: getmany → COPY), then one module per workload. `make bench` runs them all.
"""
