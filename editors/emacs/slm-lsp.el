;;; slm-lsp.el --- Code completion from a small local model  -*- lexical-binding: t; -*-

;; Version: 0.1.0
;; Package-Requires: ((emacs "28.2"))
;; Keywords: convenience, languages, tools
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Completes code by a small language model on your own processor, as ghost
;; text behind point: TAB inserts it.  It needs the program `slm-lsp'.
;;
;;   (require 'slm-lsp)
;;   (global-slm-lsp-mode 1)
;;
;; `slm-lsp-mode' has a connection of its own to `slm-lsp serve', so it works
;; beside Eglot, lsp-mode, or neither.  To have slm-lsp's completions in the
;; popup as well, see `slm-lsp-register-with-eglot' and slm-lsp-lsp-mode.el.
;;
;; This file owns the mode, the commands and the mode line.

;;; Code:

(require 'cl-lib)
(require 'json)
(require 'seq)
(require 'slm-lsp-server)
(require 'slm-lsp-document)
(require 'slm-lsp-ghost)
(require 'slm-lsp-accept)

(defcustom slm-lsp-max-buffer-size 2000000
  "In buffers of more characters `global-slm-lsp-mode' does not turn on."
  :type 'natnum
  :group 'slm-lsp)

(defvar slm-lsp-command-map
  (let ((map (make-sparse-keymap)))
    (define-key map ";" #'slm-lsp-complete)
    (define-key map "w" #'slm-lsp-why)
    (define-key map "p" #'slm-lsp-pause)
    (define-key map "r" #'slm-lsp-resume)
    (define-key map "m" #'slm-lsp-select-model)
    (define-key map "s" #'slm-lsp-stats)
    (define-key map "l" #'slm-lsp-log)
    map)
  "Keys of slm-lsp's commands, behind a prefix.")

(defvar slm-lsp-mode-map
  (let ((map (make-sparse-keymap)))
    (define-key map (kbd "C-c ;") slm-lsp-command-map)
    map)
  "Keys that are on wherever `slm-lsp-mode' is.")

;;; The mode

(defvar slm-lsp--hooks
  '((before-change-functions slm-lsp--before-change)
    (after-change-functions slm-lsp--after-change)
    (post-self-insert-hook slm-lsp--after-insertion -95)
    (post-command-hook slm-lsp--after-command)
    (after-save-hook slm-lsp--saved)
    (kill-buffer-hook slm-lsp--close)
    (change-major-mode-hook slm-lsp--turn-off)
    (after-set-visited-file-name-hook slm-lsp--reopen)
    (before-revert-hook slm-lsp--close)
    (after-revert-hook slm-lsp--open)
    (window-selection-change-functions slm-lsp--left)
    (completion-in-region-mode-hook slm-lsp--popup-changed)
    (company-completion-started-hook slm-lsp--popup-changed)
    (company-completion-finished-hook slm-lsp--popup-changed)
    (company-completion-cancelled-hook slm-lsp--popup-changed))
  "What `slm-lsp-mode' hangs into a buffer: hook, function, depth.")

;;;###autoload
(define-minor-mode slm-lsp-mode
  "Suggest code by a small language model on your own processor.
While a suggestion is shown as ghost text, these keys act on it:

\\{slm-lsp-ghost-map}
These are always on:

\\{slm-lsp-mode-map}"
  :lighter (:eval (slm-lsp--lighter))
  :group 'slm-lsp
  (pcase-dolist (`(,hook ,function ,depth) slm-lsp--hooks)
    (if slm-lsp-mode
        (add-hook hook function depth t)
      (remove-hook hook function t)))
  (if slm-lsp-mode
      (progn (setq slm-lsp--tick (buffer-chars-modified-tick))
             (slm-lsp--open))
    (when (timerp slm-lsp--timer)
      (cancel-timer slm-lsp--timer))
    (slm-lsp--give-up)
    (slm-lsp--hide)
    (slm-lsp--close)))

(defun slm-lsp--turn-on ()
  "Turn on `slm-lsp-mode' where the buffer is a file on this machine."
  (when (and buffer-file-name
             (not (file-remote-p buffer-file-name))
             (<= (buffer-size) slm-lsp-max-buffer-size))
    (slm-lsp-mode 1)))

(defun slm-lsp--turn-off ()
  "Turn off `slm-lsp-mode'."
  (slm-lsp-mode -1))

;;;###autoload
(define-globalized-minor-mode global-slm-lsp-mode slm-lsp-mode slm-lsp--turn-on
  :predicate '(prog-mode conf-mode markdown-mode sgml-mode yaml-mode)
  :group 'slm-lsp)

(defun slm-lsp--buffers ()
  "Return the buffers in which `slm-lsp-mode' is on."
  (seq-filter (lambda (buffer) (buffer-local-value 'slm-lsp-mode buffer)) (buffer-list)))

(defun slm-lsp--on-ready ()
  "Let a server that was just started know of all buffers."
  (dolist (buffer (slm-lsp--buffers))
    (with-current-buffer buffer
      (slm-lsp--open)
      (slm-lsp--schedule))))

(defun slm-lsp--on-gone ()
  "Forget what the server knew, as it has ended."
  (dolist (buffer (slm-lsp--buffers))
    (with-current-buffer buffer
      (slm-lsp--hide)
      (setq slm-lsp--uri nil slm-lsp--pending nil))))

(defun slm-lsp--on-status ()
  "Show nothing while suggestions are paused."
  (when (equal (plist-get slm-lsp--status :state) "paused")
    (dolist (buffer (slm-lsp--buffers))
      (with-current-buffer buffer
        (slm-lsp--hide)))))

(add-hook 'slm-lsp-ready-hook #'slm-lsp--on-ready)
(add-hook 'slm-lsp-gone-hook #'slm-lsp--on-gone)
(add-hook 'slm-lsp-status-hook #'slm-lsp--on-status)

;;; Mode line

(defun slm-lsp--lighter ()
  "Return the text for the mode line, the bare name where all is well."
  (let ((state (plist-get slm-lsp--status :state))
        (percentage (plist-get slm-lsp--status :percentage)))
    (propertize (cond ((equal state "ready") " slm")
                      ((and (equal state "loading") (numberp percentage))
                       (format " slm[%d%%%%]" percentage))
                      (t (format " slm[%s]" (or state "off"))))
                'help-echo (slm-lsp--describe-status))))

(defun slm-lsp--describe-status ()
  "Return the status in words."
  (let ((model (plist-get slm-lsp--status :model))
        (message (plist-get slm-lsp--status :message))
        (last-ms (plist-get slm-lsp--status :last_ms)))
    (string-join
     (delq nil
           (list (format "slm-lsp is %s" (or (plist-get slm-lsp--status :state) "off"))
                 (and model (not (string-empty-p model)) (format "model %s" model))
                 (and message (not (string-empty-p message)) message)
                 (and (numberp last-ms) (format "last request %.0f ms" last-ms))))
     "; ")))

;;; Commands

(defun slm-lsp-status ()
  "Say how the server is."
  (interactive)
  (message "%s" (slm-lsp--describe-status)))

(defun slm-lsp-why ()
  "Say why there was no suggestion in this buffer lately."
  (interactive)
  (slm-lsp--command
   "slm-lsp.why" (and slm-lsp--uri (list slm-lsp--uri))
   (lambda (answer)
     (message "slm-lsp: %s"
              (if answer
                  (string-join (seq-filter (lambda (part) (and (stringp part) (not (string-empty-p part))))
                                           (list (plist-get answer :sentence)
                                                 (plist-get answer :advice)))
                               " ")
                "nothing was asked for here yet")))))

(defun slm-lsp-pause (&optional minutes)
  "Suggest nothing until `slm-lsp-resume', or for MINUTES, the prefix argument."
  (interactive "P")
  (slm-lsp--command "slm-lsp.pause"
                    (and minutes (list (prefix-numeric-value minutes)))
                    #'slm-lsp--tell-status))

(defun slm-lsp-resume ()
  "Suggest again."
  (interactive)
  (slm-lsp--command "slm-lsp.resume" nil #'slm-lsp--tell-status))

(defun slm-lsp--tell-status (status)
  "Take STATUS, and say it."
  (slm-lsp--set-status status)
  (slm-lsp-status))

(defun slm-lsp-select-model ()
  "Choose the model that suggests in this session."
  (interactive)
  (slm-lsp--command
   "slm-lsp.models" nil
   ;; An answer comes in the midst of other things; reading input has to wait for their end.
   (lambda (models) (run-at-time 0 nil #'slm-lsp--choose-model models))))

(defun slm-lsp--choose-model (models)
  "Let the user choose one of MODELS and its quantization, and use it."
  (let* ((choices (seq-mapcat #'slm-lsp--choices models))
         (completion-extra-properties
          (list :annotation-function (lambda (name) (nth 3 (assoc name choices)))))
         (chosen (completing-read "Model or path of a GGUF file: " choices))
         (choice (assoc chosen choices)))
    (slm-lsp--command "slm-lsp.use"
                      (if choice (list (nth 1 choice) (nth 2 choice))
                        (list (expand-file-name chosen)))
                      #'slm-lsp--tell-status)))

(defun slm-lsp--choices (model)
  "Return what there is to choose of MODEL: (NAME MODEL QUANTIZATION ANNOTATION)."
  (seq-map (lambda (quantization)
             (let ((name (plist-get model :name)) (variant (plist-get quantization :name)))
               (list (concat name " " variant) name variant
                     (format "  %s, %.0f MB, %s" (plist-get model :licence)
                             (/ (or (plist-get quantization :size_bytes) 0) 1e6)
                             (plist-get quantization :state)))))
           (plist-get model :quantizations)))

(defun slm-lsp-stats ()
  "Show the counters of this session."
  (interactive)
  (slm-lsp--command
   "slm-lsp.stats" nil
   (lambda (stats)
     (slm-lsp--display "*slm-lsp stats*"
                       (let ((json-encoding-pretty-print t)) (json-encode stats))))))

(defun slm-lsp-log ()
  "Show what the server wrote to its standard error."
  (interactive)
  (slm-lsp--display "*slm-lsp log*"
                    (concat (slm-lsp--describe-status) "\n\n"
                            slm-lsp--old-log (slm-lsp--log-of slm-lsp--connection))))

(defun slm-lsp--display (name text)
  "Show TEXT in a buffer called NAME."
  (with-current-buffer (get-buffer-create name)
    (let ((inhibit-read-only t))
      (erase-buffer)
      (insert text))
    (special-mode)
    (goto-char (point-min))
    (display-buffer (current-buffer))))

(defun slm-lsp-restart ()
  "End the server and start another."
  (interactive)
  (slm-lsp--stop)
  (slm-lsp--restart-now))

;;; Eglot

(defvar eglot-server-programs)

;;;###autoload
(defun slm-lsp-register-with-eglot (&optional modes)
  "Make slm-lsp the server of Eglot in MODES, a list of major modes.
Eglot has one server in a buffer, so these are modes in which no other
is wanted; without MODES, all that derive from `prog-mode'.  The
popup's completions come through `completion-at-point' then."
  (with-eval-after-load 'eglot
    (push (cons (or modes '(prog-mode)) (lambda (&rest _) slm-lsp-command))
          eglot-server-programs)))

(provide 'slm-lsp)
;;; slm-lsp.el ends here
