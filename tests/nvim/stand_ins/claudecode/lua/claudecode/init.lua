-- Stands in for another plugin of this name: its module, told apart by `mine`.
return { mine = "the other plugin" }
