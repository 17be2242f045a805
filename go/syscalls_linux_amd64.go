package sigward

const sysSyncfs = 306
