"""The boundary at admission: ValidatingAdmissionPolicies that refuse in the same words what the operator would refuse,
as far as it can be seen in a raw job.

- Made from the table of places and the rules over them by which the operator reads a job: neither says less.
- What a job gets by being merged over its runtime isn't seen here: the operator alone holds that.
- An update is held where it changes the spec, but for one that stops the job: labels and finalizers may always go.
- Where an expression fails, the request is refused.
"""
