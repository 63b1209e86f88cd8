-- The uid of the Kubernetes pod, which the cgroup's path carries.
ALTER TABLE events ADD COLUMN IF NOT EXISTS
    k8s_pod_uid         LowCardinality(String) AFTER k8s_pod_name;
ALTER TABLE sessions ADD COLUMN IF NOT EXISTS
    k8s_pod_uid         LowCardinality(String) AFTER k8s_pod_name;
