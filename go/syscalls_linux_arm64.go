package sigward

const sysSyncfs = 267
