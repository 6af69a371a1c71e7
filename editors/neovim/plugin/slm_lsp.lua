if vim.g.loaded_slm_lsp then
  return
end
vim.g.loaded_slm_lsp = true

vim.api.nvim_create_user_command('SlmLsp', function(args)
  require('slm_lsp.command').run(args.fargs)
end, {
  nargs = '*',
  desc = 'slm-lsp: status, why, stats, pause, resume, model, log, restart',
  complete = function(lead, line)
    return require('slm_lsp.command').complete(lead, line)
  end,
})
