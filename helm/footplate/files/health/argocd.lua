-- Health of a TrainingJob for Argo CD: resource.customizations.health.footplate.dev_TrainingJob in argocd-cm.
-- As Argo CD sees a Job: Progressing until its end, and Suspended while it is suspended. By conditions alone.
local function health(status, message)
  return { status = status, message = message or "" }
end

local seen = obj.status or {}
local generation = obj.metadata.generation or 0
if (seen.observedGeneration or -1) < generation then
  return health("Progressing", "the operator hasn't looked at it since it was last changed")
end

local held = {}
for _, condition in ipairs(seen.conditions or {}) do
  if condition.status == "True" then
    held[condition.type] = condition
  end
end

local order = {
  { "Failed", "Degraded" },
  { "Stalled", "Degraded" },
  { "Complete", "Healthy" },
  { "Suspended", "Suspended" },
}
for _, each in ipairs(order) do
  local condition = held[each[1]]
  if condition ~= nil then
    return health(each[2], (condition.reason or each[1]) .. ": " .. (condition.message or ""))
  end
end
return health("Progressing", (seen.reason or "Pending") .. ": " .. (seen.message or ""))
