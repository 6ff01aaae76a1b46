;; Is a component, which is no module.
(component)
