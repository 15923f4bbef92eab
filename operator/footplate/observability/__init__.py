"""What a platform team's Prometheus and Grafana are to be told: alerts and dashboards, the only source of the files in
`helm/footplate/files`. Pure: nothing here runs in the operator.
"""
